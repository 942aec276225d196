-- Uniform numbers in (0, 1) from one seed given by the caller, so that a recorded call can be replayed.
-- Park and Miller's minimal standard generator: 2^31 * 16807 stays exact in a double.
local function random_from(seed)
  local state = seed % 2147483647
  if state <= 0 then state = 1 end
  return function()
    state = (state * 16807) % 2147483647
    return state / 2147483647
  end
end
