-- Every script begins with this. KEYS are the hash, the list and the counter of a
-- session, and a key that holds nothing; ARGV[1] is the ID of the session.
local hash, list, counter = KEYS[1], KEYS[2], KEYS[3]

local function kind(key) return redis.call('TYPE', key).ok end

local function is_or_may_become(key, wanted)
  local found = kind(key)
  return found == wanted or found == 'none'
end

-- refusal returns an error if the keys are not those of a session with this ID.
-- The scripts call it before they change anything.
local function refusal()
  if not is_or_may_become(hash, 'hash') then
    return redis.error_reply('WRONGTYPE the key of the session does not hold a hash')
  end
  if not is_or_may_become(list, 'list') then
    return redis.error_reply("WRONGTYPE the key of the session's messages does not hold a list")
  end
  if not is_or_may_become(counter, 'string') then
    return redis.error_reply("WRONGTYPE the key of the session's counter does not hold a string")
  end
  local id = redis.call('HMGET', hash, 'session_id')[1]
  if id and id ~= ARGV[1] then
    return redis.error_reply('WRONGID the keys belong to a session with another ID, under another prefix')
  end
end
