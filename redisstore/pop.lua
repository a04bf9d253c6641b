-- PopItem, which judges in Go what is JSON. ARGV[2]: how many elements to return. ARGV[3] and on: the newest elements
-- as the caller has seen them, beginning with the item to remove. Where they still are the newest, it removes the
-- item and returns 1; otherwise it returns the newest elements.
local failure = refusal()
if failure then
  return failure
end
local expected = #ARGV - 2
if expected > 0 then
  local newest = redis.call('LRANGE', list, -expected, -1)
  local same = #newest == expected
  for i = 1, expected do
    same = same and newest[i] == ARGV[2 + i]
  end
  if same then
    return redis.call('LREM', list, -1, ARGV[3]) -- what lies above is not JSON, and so not equal to the item
  end
end
return redis.call('LRANGE', list, -ARGV[2], -1)
