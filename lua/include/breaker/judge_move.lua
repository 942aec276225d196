--- @include "breaker/judge"
--- @include "breaker/probe"
--- @include "breaker/relief"
-- The transition that one finished call of the breaker's generation leads to, or nil.
-- A slow probe is a success where no other deployment can take the traffic. Returns 'close', the reason to open again,
-- or nil.
local function judge_probe(d, policy, sample, now)
  if sample.failures == 1 then return 'probe_failed' end
  if sample.slow == 1 and relief_is_there(d, now) then return 'probe_slow' end
  if sample.calls == 0 then
    probe_give_back(d)
    return nil
  end
  probe_succeed(d)
  return d.probes_succeeded >= policy.probe_successes and 'close' or nil
end

-- A last resort that succeeds counts as the first probe; one that fails leaves the breaker open for as long as it was.
local function judge_resort(d, policy, sample, now)
  if sample.calls == 0 or sample.failures == 1 or (sample.slow == 1 and relief_is_there(d, now)) then return nil end
  if policy.probe_successes <= 1 then return breaker_close(d, now, 'probes_succeeded') end
  local transition = breaker_half_open(d, now, 'last_resort')
  probe_issue(d, now)
  probe_succeed(d)
  return transition
end

local function judge_move(d, policy, sample, sums, is_probe, now, random, why)
  if d.state == 'closed' then
    local reason = judge_closed(d, policy, sample, sums, now)
    return reason and breaker_open(d, policy, now, reason, random, why)
  end
  if not is_probe or not policy then return nil end
  if d.state == 'open' then return judge_resort(d, policy, sample, now) end
  local verdict = d.state == 'half_open' and judge_probe(d, policy, sample, now)
  if verdict == 'close' then return breaker_close(d, now, 'probes_succeeded') end
  return verdict and breaker_open(d, policy, now, verdict, random, why)
end
