-- ReplaceItems. ARGV[2]: a text that no element of the list is equal to. ARGV[3] and on: the pairs, each an old item
-- and a new one; that text as the new item removes the old one. It returns how many pairs have matched.
local failure = refusal()
if failure then
  return failure
end
local removal = ARGV[2]
if #ARGV == 4 and ARGV[4] == removal then
  return redis.call('LREM', list, -1, ARGV[3]) -- unlike LSET, this works where the memory is full
end

local waiting, left = {}, 0 -- the new items that wait for an old one, in order of their pairs
for i = 3, #ARGV, 2 do
  local queue = waiting[ARGV[i]]
  if not queue then
    queue = {first = 1}
    waiting[ARGV[i]] = queue
  end
  queue[#queue + 1] = ARGV[i + 1]
  left = left + 1
end

local matched, removed = 0, 0
local most = 100 -- elements that it holds in memory at a time
local window, last = math.min(left, most), -1 -- last is the index of the newest element that it has not looked at
while left > 0 do
  local elements = redis.call('LRANGE', list, last - window + 1, last)
  for i = #elements, 1, -1 do
    local queue = waiting[elements[i]]
    local new = queue and queue[queue.first]
    if new then
      queue.first = queue.first + 1
      if new ~= elements[i] then
        redis.call('LSET', list, last - #elements + i, new) -- changes no index
      end
      if new == removal then
        removed = removed + 1
      end
      matched, left = matched + 1, left - 1
    end
  end
  if #elements < window then
    break
  end
  last = last - window
  window = math.min(2 * window, most)
end
if removed > 0 then
  redis.call('LREM', list, -removed, removal)
end
return matched
