-- RewriteItems: changes the elements of one batch, and reads the next page.
--
-- The window is a run of the list as an earlier call has read it, newest first:
-- some elements above the batch, the batch, some below it. ARGV[2] is a text
-- that no element is equal to. ARGV[3] is the index that the window's newest
-- element had, ARGV[4] how many elements of the window belong to the batch or
-- lie above it, ARGV[5] how many elements the next page has at most. From
-- ARGV[6] on, each element of the window is followed by its change: an empty
-- text leaves it alone, the text of ARGV[2] removes it, and any other text takes
-- its place. The first call has no window.
--
-- It returns how many elements it has changed, and the next window: the index
-- of its newest element, how many of its elements lie above the page, how many
-- the page has, and the elements.
local failure = refusal()
if failure then
  return failure
end
local removal, top, handed, size = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local known = (#ARGV - 5) / 2
local around = 2                -- elements above and below the page in a window
local page_bytes = 1024 * 1024
local most_searches = 16        -- each is a walk over the whole list
local length = redis.call('LLEN', list)

local function old(j) return ARGV[4 + 2 * j] end
local function new(j) return ARGV[5 + 2 * j] end
local function former_place(j) return top - j + 1 end

-- read returns the elements from index newest downwards. It returns none if the
-- list has no such index.
local function read(newest, count)
  local found, oldest = {}, math.max(newest - count + 1, 0)
  if newest >= 0 then
    for i, element in ipairs(redis.call('LRANGE', list, oldest, newest)) do
      found[newest - oldest - i + 2] = element
    end
  end
  return found
end

-- newest_place returns the index of the newest element that is equal to text.
local function newest_place(text) return redis.call('LPOS', list, text, 'RANK', -1) end

-- find_one returns an element of the window and its present index. An element
-- that the window holds twice says little about the way the window has moved.
local function find_one(here)
  local times, unmoved = {}, nil
  for j = 1, known do
    times[old(j)] = (times[old(j)] or 0) + 1
  end
  for j = 1, known do
    if here[j] == old(j) then
      if times[old(j)] == 1 then
        return j, former_place(j)
      end
      unmoved = unmoved or j
    end
  end
  -- Clients that pop leave the oldest elements. Clients that trim the list leave
  -- the newest.
  local tries = {1, known}
  for i = 3, most_searches do
    tries[i] = math.ceil(known * (i - 2) / (most_searches - 1))
  end
  for _, j in ipairs(tries) do
    local place = times[old(j)] == 1 and newest_place(old(j))
    if place and place <= former_place(j) then
      return j, place
    end
  end
  return unmoved, unmoved and former_place(unmoved)
end

-- places returns the present indexes of the elements of the window. One that is
-- gone has none. Elements only move down, by the number of elements that were
-- removed below them.
local function places()
  local place, here, same = {}, read(top, known), true
  for j = 1, known do
    place[j] = former_place(j)
    same = same and here[j] == old(j)
  end
  if same then
    return place
  end
  place = {}
  local one, at = find_one(here)
  if not one then
    return place
  end
  place[one] = at
  local moved = former_place(one) - at
  -- near[j] is old(j), if no element between it and the found one was removed.
  local near = read(at + one - 1, known)
  for _, step in ipairs({1, -1}) do -- to the older ones, and to the newer ones
    -- The distance of the last one from the found one, and the number of
    -- elements between them that were removed.
    local last, gone = 0, 0
    for i = 1, step == 1 and known - one or one - 1 do
      local j = one + step * i
      local nearest = last + 1
      if step == 1 then
        -- A nearer index would be above its former place.
        nearest = math.max(nearest, i - moved)
      end
      for distance = i - gone, nearest, -1 do
        if near[one + step * distance] == old(j) then
          place[j] = at - step * distance
          last, gone = distance, i - distance
          break
        end
      end
    end
  end
  return place
end

local place = places()

-- page_end returns the index below which edit has seen no element. It is taken
-- from the next element below the batch, if that is still there. The second best
-- is the oldest one that edit has seen, since others may have replaced elements
-- below it. The third is one further below. If all are gone, edit may see an
-- element again, and misses none.
local function page_end()
  if known == 0 then
    return length
  end
  local place_of_end = place[handed + 1] and place[handed + 1] + 1
  for j = handed, 1, -1 do
    place_of_end = place_of_end or place[j]
  end
  for j = handed + 2, known do
    place_of_end = place_of_end or place[j] and place[j] + 1
  end
  return math.min(place_of_end or length, former_place(handed))
end

-- change returns the number of changed elements, or an error if it has changed
-- nothing. A removal moves only the elements above, which edit has seen.
local function change()
  local changes, removed = {}, 0
  for j = 1, known do
    if place[j] and new(j) ~= '' then
      changes[#changes + 1] = j
      removed = removed + (new(j) == removal and 1 or 0)
    end
  end
  local first, last = changes[1], changes[#changes]
  if removed == 1 and #changes == 1 and newest_place(old(first)) == place[first] then
    -- Unlike LSET, this works if the memory of the server is full.
    return redis.pcall('LREM', list, -1, old(first))
  end
  local reply
  local function failed() return type(reply) == 'table' and reply.err end
  local done = 0
  while done < #changes and not failed() do
    local j = changes[done + 1]
    reply = redis.pcall('LSET', list, place[j], new(j))
    done = done + (failed() and 0 or 1)
  end
  if removed > 0 and not failed() then
    local from_the_tail = length - place[last] < place[first]
    reply = redis.pcall('LREM', list, from_the_tail and -removed or removed, removal)
  end
  if failed() then
    for i = 1, done do
      redis.call('LSET', list, place[changes[i]], old(changes[i]))
    end
    return reply
  end
  return #changes
end

local changed = change()
if type(changed) == 'table' then
  return changed
end

local page_top = page_end()
if size == 0 or page_top == 0 then
  return {changed, 0, 0, 0, {}}
end
local window = {}
local function append(newest, count)
  for _, element in ipairs(read(newest, count)) do
    window[#window + 1] = element
  end
end
local newest = math.min(page_top + around, redis.call('LLEN', list)) - 1
local above = newest - page_top + 1
append(newest, above)
local bytes, count, chunk = 0, 0, 1
while count < size and count < page_top and bytes < page_bytes do
  -- Elements may be large, so it reads few at first.
  local elements = read(page_top - count - 1, math.min(chunk, size - count))
  if not elements[1] then
    break -- cannot be, but a script that does not end would block the server
  end
  for _, element in ipairs(elements) do
    if bytes < page_bytes then
      window[#window + 1] = element
      bytes, count = bytes + #element, count + 1
    end
  end
  chunk = 2 * chunk
end
append(page_top - count - 1, around)
return {changed, newest, above, count, window}
