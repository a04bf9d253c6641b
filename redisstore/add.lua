-- The second half of AddItems, in one MULTI with the RPUSH of the items, which so do not pass through Lua. A command
-- that fails in a MULTI does not undo the others: where this one fails, it takes the items away again. ARGV[2]: how
-- many items were pushed. ARGV[3]: the TTL in milliseconds, or an empty string.
local now = redis.call('TIME') -- seconds and microseconds, on the clock by which the server expires keys
local failure = refusal()
if not failure and redis.call('LLEN', list) < tonumber(ARGV[2]) then
  -- The list has expired since the RPUSH, which went by an earlier reading of the clock, and the items with it.
  return redis.error_reply('EXPIRED the session expired while items were added')
end
if not failure then
  local reply = redis.pcall('HSET', hash, 'session_id', ARGV[1], 'updated_at', now[1])
  if type(reply) == 'table' and reply.err then
    failure = reply
  end
end
if failure then
  if kind(list) == 'list' then -- otherwise the RPUSH has failed as well
    redis.call('LTRIM', list, 0, -1 - ARGV[2])
  end
  return failure
end
redis.call('HSETNX', hash, 'created_at', now[1])
if ARGV[3] ~= '' then
  local expiry = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000) + ARGV[3])
  for _, key in ipairs(KEYS) do
    redis.call('PEXPIREAT', key, expiry)
  end
end
if ARGV[3] == '' and redis.call('PTTL', list) == -1 then
  redis.call('PERSIST', hash) -- or else the list, which may be new, would outlive the hash that names the session
end
return redis.status_reply('OK')
