--- @include "window/window_read"
-- The latencies of a window for display: the upper end in ms and the count of each bucket that is not empty, as '38.1:2
-- 45.3:0.5'. Counts are fractions while a slice slides out.
local function histogram_text(sums)
  local parts = {}
  for k = 0, BUCKETS - 1 do
    local count = sums.buckets[k]
    if count then
      parts[#parts + 1] = string.format('%.1f:%.2f', BUCKET_START_MS * 2 ^ (k / BUCKETS_PER_OCTAVE), count)
    end
  end
  return table.concat(parts, ' ')
end
