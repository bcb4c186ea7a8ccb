package tally

import "github.com/redis/go-redis/v9"

// Fields of a hash. Counts have the prefix so that an event type called "next" cannot
// be taken for the position.
const (
	fieldNext    = "next"
	fieldStart   = "start"
	fieldTopicID = "topic_id"
	kindPrefix   = "k:"
)

// applyScript adds batches' counts and moves their positions; a batch that is
// refused changes nothing.
//
// Lua is not rolled back when a command in it fails, so everything that could
// fail is checked before a batch's first write: the key's type, the three fields,
// and every stored count that would be added to. Offsets are compared as text: a
// Lua number is a float64 and takes 2^53+1 for 2^53. One call takes several
// batches because the embedded server spends more on beginning a script than on
// running it.
//
// A hash changes with one command: Redis 7.0 that finds the end of its log torn inside a
// transaction keeps the commands before, and after the next torn end it executes them.
// Counts of 1e15 and more, which a Lua number could round, are the exception.
//
// KEYS are the hashes. ARGV: the most event types, the field of the event type "(other)", a
// field that is always admitted (that of "(malformed)"), then for each key: from,
// next, topic id, the number of event types, and field and count alternately.
// Answers status, next, start, and topic id for each key. The status is applied, stale,
// absent, topic (the counts are of a topic with another id), type (the key is not a hash;
// next is then its type) or garbage (next is then a field, start its value).
var applyScript = redis.NewScript(luaShape + `
local most, other, always = tonumber(ARGV[1]), ARGV[2], ARGV[3]

local function apply(key, at)
  local from, upto, topic, last = ARGV[at], ARGV[at + 1], ARGV[at + 2], at + 3 + 2 * tonumber(ARGV[at + 3])
  local state, nxt, start, id = shape(key)
  if state then return {state, nxt, start, id} end
  if nxt == '' then return {'absent', '', '', ''} end
  if id ~= '' and topic ~= '' and id ~= topic then return {'topic', nxt, start, id} end
  if nxt ~= from then return {'stale', nxt, start, id} end

  local fields = {}
  for i = at + 4, last, 2 do fields[#fields + 1] = ARGV[i] end
  fields[#fields + 1] = other
  local old = {}
  for i = 1, #fields, 100 do
    local part = {}
    for j = i, math.min(i + 99, #fields) do part[#part + 1] = fields[j] end
    local got = redis.call('HMGET', key, unpack(part))
    for j = 1, #part do
      local v = got[j]
      if v and not (digits(v) and #v <= 18) then return {'garbage', part[j], v, ''} end
      old[part[j]] = v
    end
  end

  local types, sums, counted, large = redis.call('HLEN', key) - 3, {}, {}, false
  for i = at + 4, last, 2 do
    local f = ARGV[i]
    if not old[f] and f ~= other and f ~= always then
      if types >= most then f = other else types = types + 1 end
    end
    if not sums[f] then
      sums[f], counted[#counted + 1] = tonumber(old[f] or 0), f
    end
    sums[f] = sums[f] + tonumber(ARGV[i + 1])
    large = large or sums[f] >= 1e15
    ARGV[i] = f
  end
  for i = at + 4, large and last or 0, 2 do
    if sums[ARGV[i]] >= 1e15 then redis.call('HINCRBY', key, ARGV[i], ARGV[i + 1]) end
  end
  if id == '' then id = topic end
  local set = {'next', upto, 'topic_id', id}
  for _, f in ipairs(counted) do
    if sums[f] < 1e15 then set[#set + 1], set[#set + 2] = f, string.format('%.0f', sums[f]) end
  end
  redis.call('HSET', key, unpack(set))
  return {'applied', upto, start, id}
end

local answers, at = {}, 4
for i = 1, #KEYS do
  for _, field in ipairs(apply(KEYS[i], at)) do answers[#answers + 1] = field end
  at = at + 4 + 2 * tonumber(ARGV[at + 3])
end
return answers
`)

// beginScript creates the hash where there is none, and answers what is stored.
// KEYS[1] the hash. ARGV: offset, topic id.
var beginScript = redis.NewScript(luaShape + `
local state, nxt, start, id = shape(KEYS[1])
if state then return {state, nxt, start, id} end
if nxt == '' then
  redis.call('HSET', KEYS[1], 'next', ARGV[1], 'start', ARGV[1], 'topic_id', ARGV[2])
  return {'applied', ARGV[1], ARGV[1], ARGV[2]}
end
if id ~= '' and ARGV[2] ~= '' and id ~= ARGV[2] then return {'topic', nxt, start, id} end
return {'stale', nxt, start, id}
`)

// resetScript drops the counts and begins anew. KEYS[1] the hash. ARGV: offset, topic id.
var resetScript = redis.NewScript(`
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'next', ARGV[1], 'start', ARGV[1], 'topic_id', ARGV[2])
return {'applied', ARGV[1], ARGV[1], ARGV[2]}
`)

// luaShape reads the three fields and refuses a key that is not a hash of counts.
const luaShape = `
local function digits(v)
  return v == '0' or string.find(v, '^[1-9]%d*$') ~= nil
end
local function shape(key)
  local t = redis.call('TYPE', key)
  if type(t) == 'table' then t = t.ok end
  if t == 'none' then return nil, '', '', '' end
  if t ~= 'hash' then return 'type', t, '', '' end
  local h = redis.call('HMGET', key, 'next', 'start', 'topic_id')
  for i, f in ipairs({'next', 'start'}) do
    if not h[i] then return 'garbage', f, '', '' end
    if not digits(h[i]) or #h[i] > 19 then return 'garbage', f, h[i], '' end
  end
  return nil, h[1], h[2], h[3] or ''
end
`
