--- @include "store/number"
-- One entry per transition. The stream is capped so that a flapping provider cannot fill the store.
local EVENTS_KEPT = 1000

-- `words`: of the error that caused it, or nil.
local function event_add(key, domain, subject, from, to, reason, generation, words)
  local entry = { 'subject', subject, 'from', from, 'to', to, 'reason', reason, 'generation', generation,
    'sequence', domain.sequence or 0, 'at_ms', domain.now }
  if words then entry[#entry + 1], entry[#entry + 2] = 'error', words end
  redis.call('XADD', key, 'MAXLEN', '~', EVENTS_KEPT, '*', unpack(entry))
end

local function events_add(key, domain, transitions)
  for _, t in ipairs(transitions) do
    event_add(key, domain, t.subject, t.from, t.to, t.reason, t.generation, t.error)
  end
end
