"""Slips in the request path and what stands around it."""

from tests.mutants.slip import Slip, Table

_GATEWAY = "tests/gateway/"
ADMISSION = "tests/gateway/routing/test_admission.py"
AUTH = "tests/gateway/request/test_auth.py"
CHARGING = "tests/gateway/routing/test_charging.py"
DISPATCH = "tests/gateway/routing/test_dispatch.py"
INTERRUPT = "tests/gateway/request/test_interrupt.py"
PRICES = "tests/gateway/routing/test_prices.py"
PROVIDER_HTTP = "tests/gateway/upstream/test_provider_http.py"
QUEUEING = "tests/gateway/routing/test_queueing.py"
ADMINS = "tests/gateway/request/test_admins.py"
ORIGIN = "tests/gateway/request/test_same_origin.py"
TIMER_WHEEL = "tests/gateway/http/test_timer_wheel.py"
RECENT_SHEDDING = "tests/gateway/routing/test_recent_shedding.py"
SLOW_READER = f"{INTERRUPT}::test_client_that_reads_slowly_gets_its_whole_stream"

HEALTH_CHECKS = "tests/gateway/routing/test_health_checks.py"

NAMED, MADE = "tests/gateway/request/test_named_state.py", "tests/gateway/upstream/test_made_state.py"

GATEWAY: Table = {
    "gateway/request/named_state.py": (
        Slip("0 < len(value) <= ID_MOST", "len(value) > 0", NAMED, "ids of a megabyte are kept with their request"),
        Slip("encrypted[::-1]", "encrypted", NAMED, "a conversation that has moved goes back to its first account"),
    ),
    "gateway/upstream/made_state.py": (
        Slip("response.store is not False", "True", MADE, "ids that no request can use fill the store"),
    ),
    "gateway/routing/health_checks.py": (
        Slip(
            "is_healthy = 200 <= status < 300",
            "is_healthy = 200 <= status < 500",
            HEALTH_CHECKS,
            "a refused key or a rate limit ends the cooldown",
        ),
        Slip(
            "if each.enabled and each.health_check}",
            "if each.health_check}",
            HEALTH_CHECKS,
            "a disabled deployment is checked",
        ),
        Slip(
            'if part.state != "shared":',
            'if part.state == "":',
            HEALTH_CHECKS,
            "during an outage of the store each replica checks for itself",
        ),
    ),
    "gateway/request/auth.py": (
        Slip(
            "self._is_open = not self._configured and not self._has_stored",
            "self._is_open = not self._configured and not self._stored",
            AUTH,
            "the last stored key taken back opens the gateway to everybody",
        ),
        Slip(
            "self._has_stored = self._has_stored or version > 0",
            "self._has_stored = version > 0 and bool(kept)",
            AUTH,
            "a replica that starts after the last stored key was taken back is open to everybody",
        ),
        Slip(
            "self._stored | self._configured",
            "self._configured | self._stored",
            AUTH,
            "a record in the store lifts the limits of a configured key",
        ),
        Slip(
            "return tenant.key in self._tenants if tenant.key else self._is_open",
            "return tenant.key in self._tenants if tenant.key else True",
            AUTH,
            "an anonymous request that waited is served after keys were configured",
        ),
        Slip(
            "return not self.models or not self.models.isdisjoint(names)",
            "return not self.models.isdisjoint(names)",
            f"{_GATEWAY}endpoints {DISPATCH}",
            "a key without a list of models may use none",
        ),
    ),
    "gateway/routing/catalog.py": (
        Slip(
            "            return route\n        own = {self._aliases.get(name, name) for name in allowed}\n",
            "            return route\n        own = set(allowed)\n",
            "tests/gateway/routing/test_catalog.py",
            "a key that names a model by its alias loses it as a fallback",
        ),
        Slip(
            "chains = {refusal: of_models(own, chain) for refusal, chain in route.chains.items()}",
            "chains = route.chains",
            "tests/gateway/routing/test_catalog.py",
            "a prompt that is too long leads a key to a model that is not on its list",
        ),
    ),
    "gateway/routing/model_routes.py": (
        Slip(
            "key = (call.model, call.kind, tenant.models)",
            "key = (call.model, call.kind, frozenset[str]())",
            "tests/gateway/routing/test_model_routes.py",
            "one key falls back by the list of another",
        ),
        Slip(
            "if not tenant.may_use(name, other.model):",
            "if False:",
            "tests/gateway/routing/test_wished_routes.py",
            "a header leads a key to a model that is not on its list",
        ),
        Slip(
            "{refusal: of_models(models, chain) for refusal, chain in route.chains.items()}",
            "route.chains",
            "tests/gateway/routing/test_wished_routes.py",
            "a request that names its fallbacks leaves them when its prompt is too long",
        ),
    ),
    "gateway/configuration/patterns.py": (
        Slip(
            "return next((each for each in patterns if name.startswith(each[:-1]) and len(name) >= len(each)), None)",
            "return next((each for each in reversed(tuple(patterns)) if name.startswith(each[:-1])), None)",
            "tests/gateway/configuration/test_patterns.py",
            "a pattern for everything hides the others",
        ),
    ),
    "gateway/upstream/credentials.py": (
        Slip(
            "if self.key == refused and (self._reading or self._time() - self._read_at_s >= EVERY_S):",
            "if self.key == refused:",
            "tests/gateway/upstream/test_credentials.py",
            "every 401 runs the command again",
        ),
        Slip(
            "            self._on_key(self.source, key)\n",
            "",
            "tests/gateway/upstream/test_credentials.py",
            "a log line shows an hourly token",
        ),
    ),
    "gateway/upstream/key_source.py": (
        Slip(
            "start_new_session=True,",
            "start_new_session=False,",
            "tests/gateway/upstream/test_key_source.py",
            "a command that hangs leaves its children behind, or ends the gateway with it",
        ),
    ),
    "gateway/configuration/provider_rules.py": (
        Slip(
            "hashlib.blake2b(key.encode(),",
            "hashlib.blake2b(b'',",
            "tests/gateway/configuration/test_provider_rules.py",
            "two keys of an entry are one deployment",
        ),
    ),
    "gateway/request/client_address.py": (
        Slip(
            "while hops and self._is_trusted(peer):",
            "while hops:",
            "tests/gateway/request/test_client_address.py",
            "a client chooses its address by a header",
        ),
    ),
    "gateway/request/wrong_keys.py": (
        Slip(
            "network, now = network_of(address), self._now()",
            "network, now = address, self._now()",
            "tests/gateway/request/test_wrong_keys.py",
            "a subscriber of IPv6 has 2^64 addresses to guess from",
        ),
        Slip(
            "self._due_s.popitem(last=False)",
            "self._due_s.popitem()",
            "tests/gateway/request/test_wrong_keys.py",
            "an attacker with many addresses makes the table forget the newest",
        ),
    ),
    "gateway/configuration/key_strength.py": (
        Slip(
            "any(word in lower for word in _PLACEHOLDERS)",
            "any(word in key for word in _PLACEHOLDERS)",
            "tests/gateway/configuration/test_key_strength.py",
            "a placeholder in capitals is exposed to the network",
        ),
    ),
    "gateway/endpoints/admin/access.py": (
        Slip(
            "if admin is not None and admin.may_act_as(role):",
            "if admin is not None:",
            "tests/gateway/endpoints/admin/test_roles.py",
            "the key of a dashboard makes tenants",
        ),
        Slip(
            'if self._authenticator.admins.mode == "key":',
            "if False:",
            "tests/gateway/endpoints/admin/test_roles.py",
            "every caller reads the names of tenants and what they spend",
        ),
    ),
    "gateway/request/presented_keys.py": (
        Slip(
            "bearer[: len(_BEARER)].lower() == _BEARER",
            "bearer[: len(_BEARER)] == _BEARER",
            AUTH,
            "a client that writes Bearer has no key",
        ),
        Slip(
            "if name in values:",
            "if False:",
            AUTH,
            "a request with a repeated header is no wrong key",
        ),
    ),
    "gateway/request/admins.py": (
        Slip(
            'is_local = settings.admin == "local" or not settings.keys',
            "is_local = True",
            ADMINS,
            "callers of a proxy on this machine make keys",
        ),
        Slip(
            "return LOCAL if _is_local(client_host) and not is_relayed(headers) else None",
            "return LOCAL if _is_local(client_host) else None",
            ADMINS,
            "a caller who comes through a proxy on this machine administers",
        ),
        Slip(
            "return (mapped or address).is_loopback",
            "return address.is_loopback",
            ADMINS,
            "an operator on this machine with a mapped IPv6 address is locked out",
        ),
    ),
    "gateway/request/same_origin.py": (
        Slip(
            "if len(hosts) > 1 or not all(",
            "if not all(",
            ORIGIN,
            "a proxy that takes the other of two Host headers sends calls of any site here",
        ),
        Slip(
            "name in _RELAY_HEADERS or name.startswith(_RELAY_PREFIXES)",
            "name in _RELAY_HEADERS",
            ORIGIN,
            "a caller of a proxy that adds X-Forwarded-For administers",
        ),
    ),
    "gateway/endpoints/threshold.py": (
        Slip(
            'if scope["type"] == "http" and self._is_open() else None',
            'if scope["type"] == "http" and not self._is_open() else None',
            "tests/gateway/endpoints/test_threshold.py",
            "a page of another site reads what a gateway without keys shows",
        ),
    ),
    "gateway/endpoints/reception.py": (
        Slip(
            "if authenticator.is_open() and (fault := foreign_call(headers)):",
            "if not authenticator.is_open() and (fault := foreign_call(headers)):",
            "tests/gateway/endpoints/test_threshold.py",
            "a page of another site spends the money of a gateway without keys",
        ),
    ),
    "gateway/routing/admission.py": (
        Slip(
            "        if not queue or request.is_restricted:\n            if shed",
            "        if True:\n            if shed",
            ADMISSION,
            "newcomers ask ahead of those who wait",
        ),
        Slip(
            "if not self._is_welcome(request.tenant):",
            "if False:",
            ADMISSION,
            "a request whose key was revoked while it waited is served",
        ),
        Slip(
            "        if is_sent:\n            self.attempts",
            "        if True:\n            self.attempts",
            ADMISSION,
            "calls that were never sent count as attempts of a provider",
        ),
        Slip(
            "settled.add_done_callback(lambda _settled: self.freed(permit.deployment_id))",
            "pass",
            ADMISSION,
            "what is freed here waits a quarter of a second for the next look at the store",
        ),
        Slip(
            "            raise failed(tried) from None\n        finally:\n            interrupt.clear_deadline()",
            "            raise failed(tried) from None",
            ADMISSION,
            "the deadline of a decision cuts what comes after it",
        ),
        Slip(
            "self.recent_shedding.note(decision, priority, request.interrupt.time())",
            "self.recent_shedding.note(decision, priority, now)",
            ADMISSION,
            "a slow store is asked again for each request that it sheds",
        ),
        Slip(
            "if request.interrupt.time() < request.deadline.at - TIMER_TICK_S:",
            "if True:",
            ADMISSION,
            "a request that waited until its client's deadline is told that the gateway is full",
        ),
    ),
    "gateway/routing/queueing.py": (
        Slip(
            "if expected_s > allowed_s:",
            "if False:",
            QUEUEING,
            "who cannot be served in time is let in, and waits in vain",
        ),
        Slip(
            "min(self.settings.max_wait_ms / 1000, until - now)",
            "self.settings.max_wait_ms / 1000",
            QUEUEING,
            "the client's deadline is not looked at: it waits in vain",
        ),
        Slip(
            "if (mine + 1) / tenant.weight >= _share(longest):",
            "if (mine + 1) / tenant.weight > _share(longest):",
            QUEUEING,
            "an equal share evicts: two tenants evict each other in turns",
        ),
        Slip(
            "if lowest < priority:",
            "if lowest <= priority:",
            QUEUEING,
            "a flooding tenant keeps the whole queue",
        ),
        Slip(
            "self._served[key] = max(self._served.get(key, 0.0), floor)",
            "self._served[key] = self._served.get(key, 0.0)",
            QUEUEING,
            "a tenant that was idle for an hour has the queue to itself",
        ),
        Slip(
            "1 / waiter.tenant.weight",
            "1",
            QUEUEING,
            "weights do not count",
        ),
        Slip(
            "[-1 if self.is_overloaded else 0]",
            "[0]",
            QUEUEING,
            "under overload everybody waits for too long",
        ),
        Slip(
            "while waiter is not None and waiter.called.done():",
            "while False:",
            QUEUEING,
            "a client that leaves in the moment of its turn breaks the queue",
        ),
        Slip(
            "if self._current is waiter:\n                self._current = None\n                self.wake()",
            "if self._current is waiter:\n                self._current = None",
            QUEUEING,
            "the turn of one that leaves is lost until the next look",
        ),
        Slip(
            "self._is_woken = True\n        self._passed.clear()",
            "self._is_woken = True",
            QUEUEING,
            "a tenant that once had to let others go first never asks again",
        ),
        Slip(
            "self._least_s = min(self._least_s, oldest_s)",
            "self._least_s = oldest_s",
            QUEUEING,
            "a burst counts as overload",
        ),
    ),
    "gateway/routing/recent_shedding.py": (
        Slip(
            'if rejection.code == "shed" and rejection.reason in _STANDING:',
            'if rejection.code == "shed":',
            RECENT_SHEDDING,
            "one unlucky draw sheds everybody for a moment",
        ),
        Slip(
            "if now < self._until and priority >= self._priority else None",
            "if now < self._until else None",
            RECENT_SHEDDING,
            "critical requests are shed with the bulk",
        ),
    ),
    "gateway/http/timer_wheel.py": (
        Slip(
            "if timed.check_s <= now_s:  # it has not ended meanwhile",
            "if True:",
            TIMER_WHEEL,
            "a connection that another deadline has just closed is closed again",
        ),
        Slip(
            "except Exception as defect:  # the other deadlines must not suffer",
            "except KeyError as defect:",
            TIMER_WHEEL,
            "one defect takes the deadlines of all requests away",
        ),
        Slip(
            "math.floor(min(at_s, now_s + AHEAD_S))",
            "at_s",
            TIMER_WHEEL,
            "every answered request leaves an empty slot for ten minutes",
        ),
    ),
    "gateway/request/interrupt.py": (
        Slip(
            "silent_s = (self._waiting_since if self.is_waiting else now_s) + self._silence_s",
            "silent_s = self._waiting_since + self._silence_s",
            SLOW_READER,
            "the stream of a slow reader is cut after idle_timeout",
        ),
        Slip(
            "if self.cause is None:\n            self.cause = cause",
            "if True:\n            self.cause = cause",
            f"{INTERRUPT}::test_first_cause_is_the_cause",
            "a deadline that passes while a client leaves is answered to nobody, and the other way round",
        ),
        Slip(
            "self._task.uncancel()",
            "pass",
            f"{INTERRUPT}::test_cancellation_ends_when_its_cause_is_taken",
            "a request that went on after a deadline counts as cancelled to what it starts",
        ),
    ),
    "gateway/routing/prices.py": (
        Slip(
            "if not is_sent or (ending.tokens",
            "if (ending.tokens",
            f"{PRICES} {CHARGING}",
            "a call that was never sent is charged",
        ),
        Slip(
            "if ending.cost >= 0:\n            return ending",
            "if ending.cost > 0:\n            return ending",
            f"{PRICES} {CHARGING}",
            "a call that its provider refused is charged",
        ),
        Slip(
            "parts += tokens.read * self.read + brief",
            "parts += brief",
            PRICES,
            "what comes from the cache costs nothing",
        ),
        Slip(
            "elif ending.outcome is Outcome.SUCCESS and ending.tokens >= 0:",
            "elif ending.tokens >= 0:",
            PRICES,
            "an answer that broke off costs only what had been counted",
        ),
    ),
}
