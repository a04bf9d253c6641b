-- ClearSession.
local failure = refusal()
if failure then
  return failure
end
return redis.call('DEL', hash, list, counter)
