-- AddItems. ARGV[2]: the time in Unix seconds. ARGV[3]: the TTL in milliseconds,
-- or an empty text. ARGV[4] and on: the items.
--
-- A command that fails does not undo those before it, and the user may lack the
-- right to any command. So each command that can fail after the first change is
-- called before it, in a way that changes nothing.
local now, ttl, first_item = ARGV[2], ARGV[3], 4
local unused = KEYS[4] -- holds nothing

local failure = refusal()
if failure then
  return failure
end
local fields, has = redis.call('HGETALL', hash), {}
for i = 1, #fields, 2 do
  has[fields[i]] = true
end
local is_new = #fields == 0
-- A list that does not expire, or begins anew, must not outlive the hash that
-- names the session.
local persist = ttl == '' and redis.call('PTTL', hash) >= 0 and redis.call('PTTL', list) < 0

-- The server refuses the first writing command if its memory is full, and no
-- later one. So this must be one that takes memory.
if is_new then
  redis.call('RPUSHX', unused, '')
  redis.call('DEL', unused)
else
  redis.call('HSET', hash, fields[1], fields[2])
end
if persist then
  redis.call('PERSIST', unused)
end
if ttl ~= '' then
  redis.call('PEXPIRE', unused, ttl)
end

local names = {'session_id', ARGV[1], 'updated_at', now}
if not has.created_at then
  names[5], names[6] = 'created_at', now
end
if is_new then
  redis.call('HSET', hash, unpack(names))
end
local most = 5000 -- Lua cannot unpack many more
for i = first_item, #ARGV, most do
  local reply = redis.pcall('RPUSH', list, unpack(ARGV, i, math.min(i + most - 1, #ARGV)))
  if type(reply) == 'table' and reply.err then -- if so, of the first call
    if is_new then
      redis.call('DEL', hash)
    end
    return reply
  end
end
if not is_new then
  redis.call('HSET', hash, unpack(names))
end
if persist then
  redis.call('PERSIST', hash)
end
if ttl ~= '' then
  for _, key in ipairs({list, counter, hash}) do -- the hash goes last
    redis.call('PEXPIRE', key, ttl)
  end
end
return redis.status_reply('OK')
