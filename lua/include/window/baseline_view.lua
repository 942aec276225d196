--- @include "window/baseline"
-- Shows in `baseline_ms` the usual latency of each kind of call and in `slow_above_ms` the threshold of slowness in
-- force, as 'plain:812 stream:3100'. A kind is absent from either while it is unknown.
local function baseline_show(d)
  local usual, slow = {}, {}
  for _, kind in ipairs({ 'plain', 'stream' }) do
    local b, threshold = baseline_read(d, kind == 'stream'), baseline_threshold(d, kind == 'stream')
    if b.samples > 0 then usual[#usual + 1] = string.format('%s:%.1f', kind, b.mean) end
    if threshold then slow[#slow + 1] = string.format('%s:%.1f', kind, threshold) end
  end
  d.baseline_ms, d.slow_above_ms = table.concat(usual, ' '), table.concat(slow, ' ')
end
