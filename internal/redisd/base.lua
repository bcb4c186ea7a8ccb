-- What a script finds besides Lua's own libraries, and bounded forms of some of their functions.
-- The arguments are the table redis with the functions that are written in Go, and limits.
local redis, most_results, most_resumes, longest_source = ...
local type, select, error, tonumber, tostring, setmetatable = type, select, error, tonumber, tostring, setmetatable
local sub, find, concat = string.sub, string.find, table.concat
local create, resume, unbounded_unpack, compile, plain_tonumber = coroutine.create, coroutine.resume, unpack, loadstring, tonumber

-- reply returns a function that makes a table with one field out of its one argument.
local function reply(field, change)
  return function(...)
    local text = ...
    if select("#", ...) ~= 1 or type(text) ~= "string" then
      return {err = "ERR wrong number or type of arguments"}
    end
    return {[field] = change(text)}
  end
end

local function needs(function_name, expected, met)
  if not met then error("bad argument to '" .. function_name .. "' (" .. expected .. " expected)", 3) end
end

redis.status_reply = reply("ok", function(text) return text end)
redis.error_reply = reply("err", function(text)
  if sub(text, 1, 1) == "-" then text = sub(text, 2) end
  return find(text, " ", 1, true) and text or "ERR " .. text
end)
function redis.log(level, text) needs("log", "number, string", tonumber(level) and (type(text) == "string" or type(text) == "number")) end
function redis.set_repl(flags) needs("set_repl", "number", tonumber(flags)) end
function redis.replicate_commands() return true end
function redis.setresp(version)
  version = tonumber(version)
  if version ~= 2 and version ~= 3 then error("RESP version must be 2 or 3.", 2) end
end
redis.LOG_DEBUG, redis.LOG_VERBOSE, redis.LOG_NOTICE, redis.LOG_WARNING = 0, 1, 2, 3
redis.REPL_NONE, redis.REPL_AOF, redis.REPL_SLAVE, redis.REPL_REPLICA, redis.REPL_ALL = 0, 1, 2, 2, 3
server = redis

function collectgarbage() return 0 end

function unpack(list, first, last)
  if (last or #list) - (first or 1) >= most_results then error("too many results to unpack", 2) end
  return unbounded_unpack(list, first, last)
end

-- gopher-lua reads a text without a point as a whole number of 64 bits: of "1e5", of 30 digits and of a score
-- "inf" it would make nil, and in a calculation of "010" 8.
math.huge = 1 / 0 -- gopher-lua's is the largest number
local words = {inf = math.huge, infinity = math.huge, nan = 0 / 0}
function tonumber(...)
  local v, base = ...
  if type(v) == "string" and (base == nil or base == 10) then
    local _, _, digits, exponent = find(v, "^%s*([-+]?%d+)([eE]?[-+]?%d*)%s*$")
    if digits then return plain_tonumber(digits .. "." .. exponent) end
    local _, _, sign, word = find(v, "^%s*([-+]?)(%a+)%s*$")
    local n = word and words[string.lower(word)]
    if n then return sign == "-" and -n or n end
  end
  return plain_tonumber(...)
end
_G.tonumber = tonumber
for event, of in pairs({
  __add = function(a, b) return a + b end, __sub = function(a, b) return a - b end, __mul = function(a, b) return a * b end,
  __div = function(a, b) return a / b end, __mod = function(a, b) return a % b end, __pow = function(a, b) return a ^ b end,
  __unm = function(a) return -a end
}) do
  getmetatable("")[event] = function(a, b)
    local x, y = tonumber(a), event == "__unm" and 0 or tonumber(b)
    if not x or not y then error("attempt to perform arithmetic on a " .. type(x and b or a) .. " value", 2) end
    return of(x, y)
  end
end

-- load takes a text, or a function that returns the pieces of one.
function load(source, name)
  if type(source) ~= "function" then return compile(source, name) end
  local pieces, size = {}, 0
  while size <= longest_source do -- compile refuses a longer one
    local piece = source()
    if not piece or piece == "" then break end
    pieces[#pieces + 1], size = piece, size + #tostring(piece)
  end
  return compile(concat(pieces), name)
end

-- Each coroutine that is resumed inside another one takes a part of Go's stack.
local resumed = 0
local function leave(...)
  resumed = resumed - 1
  return ...
end
function coroutine.resume(co, ...)
  if type(co) == "thread" then
    if resumed >= most_resumes then error("C stack overflow", 2) end
    resumed = resumed + 1
    return leave(resume(co, ...))
  end
  return resume(co, ...)
end

local function raise(ok, ...)
  if not ok then error((...), 0) end
  return ...
end
local bounded = coroutine.resume
function coroutine.wrap(f)
  local co = create(f)
  return function(...) return raise(bounded(co, ...)) end
end

-- A name that is not defined is an error.
setmetatable(_G, {
  __index = function(_, name) error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2) end,
  __newindex = function(_, name) error("Script attempted to create global variable '" .. tostring(name) .. "'", 2) end
})
