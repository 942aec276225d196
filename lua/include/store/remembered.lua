-- A table that outlives the call, shared by the scripts of one library. Nothing outlives the call of a script's text,
-- which is this one: the loader (shared_state/scripts) puts the library's own table in the place of this include.
local remembered, outlives = {}, false
