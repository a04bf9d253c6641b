-- PopItem. The caller judges, in Go, which elements are JSON. ARGV[2]: how many
-- elements to return. ARGV[3] and on: the newest elements as the caller has seen
-- them, beginning with the item to remove. If they are still the newest, the
-- script removes the item and returns 1. Otherwise it returns the newest
-- elements.
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
    -- The elements above are not JSON, and so not equal to the item.
    return redis.call('LREM', list, -1, ARGV[3])
  end
end
return redis.call('LRANGE', list, -ARGV[2], -1)
