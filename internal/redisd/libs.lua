-- The libraries that Redis gives to scripts, beside those of Lua. The one argument is
-- cjson.null.
local null = ...
local floor, abs, huge, ldexp, frexp = math.floor, math.abs, math.huge, math.ldexp, math.frexp
local byte, char, sub, find, rep, format = string.byte, string.char, string.sub, string.find, string.rep, string.format
local concat, type, pairs, select, tostring, tonumber, error = table.concat, type, pairs, select, tostring, tonumber, error
local unpack = unpack

-- library makes a function that is not served an error that names the way out.
local function library(name, functions)
  rawset(_G, name, setmetatable(functions, {__index = function(_, f)
    error(name .. "." .. tostring(f) .. " is not served by weir's embedded Redis; use a real one with --redis", 2)
  end}))
end

-- integer writes size bytes, the least first; negative numbers as two's complement.
local function integer(n, size, big)
  local out = {}
  for i = 1, size do
    local b = n % 256
    out[big and size + 1 - i or i] = char(b)
    n = (n - b) / 256
  end
  return concat(out)
end

local uinteger
function uinteger(s, at, size, big)
  if at + size - 1 > #s then error("data string too short", 0) end
  if size == 8 then -- in two halves, so that it is rounded once
    return uinteger(s, big and at or at + 4, 4, big) * 4294967296 + uinteger(s, big and at + 4 or at, 4, big)
  end
  local n = 0
  for i = 0, size - 1 do
    n = n * 256 + byte(s, big and at + i or at + size - 1 - i)
  end
  return n
end

local function sinteger(s, at, size, big)
  if size > 6 then
    return sinteger(s, big and at or at + 4, size - 4, big) * 4294967296 + uinteger(s, big and at + size - 4 or at, 4, big)
  end
  local n = uinteger(s, at, size, big)
  return byte(s, big and at or at + size - 1) < 128 and n or n - 256 ^ size
end

-- real writes an IEEE 754 number with so many bits of exponent and fraction.
local function round(x)
  local low = floor(x)
  local rest = x - low
  if rest > 0.5 or rest == 0.5 and low % 2 == 1 then return low + 1 end
  return low
end

local function real(x, exponents, fractions, big)
  local bias = 2 ^ (exponents - 1) - 1
  local sign = (x < 0 or x == 0 and 1 / x < 0) and 1 or 0
  local e, f = 0, 0
  if x ~= x then
    e, f, sign = 2 * bias + 1, 2 ^ (fractions - 1), 1
  elseif abs(x) == huge then
    e = 2 * bias + 1
  elseif x ~= 0 then
    f, e = frexp(abs(x))
    e = e + bias - 1
    if e < 1 then
      f, e = round(ldexp(f, fractions + e)), 0
    else
      f = round((f * 2 - 1) * 2 ^ fractions)
    end
    if f >= 2 ^ fractions then f, e = f - 2 ^ fractions, e + 1 end
    if e > 2 * bias then e, f = 2 * bias + 1, 0 end
  end
  if fractions == 23 then
    return integer((sign * 256 + e) * 8388608 + f, 4, big)
  end
  local high = (sign * 2048 + e) * 1048576 + floor(f / 4294967296)
  local low = f % 4294967296
  if big then return integer(high, 4, big) .. integer(low, 4, big) end
  return integer(low, 4) .. integer(high, 4)
end

local function unreal(s, at, exponents, fractions, big)
  local size = (1 + exponents + fractions) / 8
  local bias = 2 ^ (exponents - 1) - 1
  local f, high
  if size == 4 then
    high = uinteger(s, at, 4, big)
    f, high = high % 8388608, floor(high / 8388608)
  else
    if at + 7 > #s then error("data string too short", 0) end
    high = uinteger(s, big and at or at + 4, 4, big)
    f = high % 1048576 * 4294967296 + uinteger(s, big and at + 4 or at, 4, big)
    high = floor(high / 1048576)
  end
  local sign = 1
  if high >= 2 ^ exponents then sign, high = -1, high - 2 ^ exponents end
  if high == 2 * bias + 1 then
    if f == 0 then return sign * huge end
    return 0 / 0
  end
  if high == 0 then return sign * ldexp(f, 1 - bias - fractions) end
  return sign * ldexp(f + 2 ^ fractions, high - bias - fractions)
end

-- bit: Lua BitOp, on 32 bits with a sign.
local function tobit(n)
  n = round(tonumber(n)) % 4294967296
  if n >= 2147483648 then return n - 4294967296 end
  return n
end

local function bitwise(truth)
  return function(first, ...)
    local a = tobit(first) % 4294967296
    for i = 1, select("#", ...) do
      local b, n, place = tobit((select(i, ...))) % 4294967296, 0, 1
      for _ = 1, 32 do
        local x, y = a % 2, b % 2
        if truth(x, y) then n = n + place end
        a, b, place = (a - x) / 2, (b - y) / 2, place * 2
      end
      a = n
    end
    return tobit(a)
  end
end

local function lshift(n, by) return tobit(tobit(n) % 2 ^ (32 - by % 32) * 2 ^ (by % 32)) end
local function rshift(n, by) return tobit(floor(tobit(n) % 4294967296 / 2 ^ (by % 32))) end
local function rol(n, by)
  n, by = tobit(n) % 4294967296, by % 32
  return tobit(n % 2 ^ (32 - by) * 2 ^ by + floor(n / 2 ^ (32 - by)))
end
library("bit", {
  tobit = tobit, lshift = lshift, rshift = rshift, rol = rol,
  bnot = function(n) return -1 - tobit(n) end,
  band = bitwise(function(x, y) return x + y == 2 end),
  bor = bitwise(function(x, y) return x + y > 0 end),
  bxor = bitwise(function(x, y) return x ~= y end),
  arshift = function(n, by) return floor(tobit(n) / 2 ^ (by % 32)) end,
  ror = function(n, by) return rol(n, -by) end,
  bswap = function(n) return tobit(uinteger(integer(tobit(n), 4), 1, 4, true)) end,
  tohex = function(n, digits)
    digits = digits or 8
    local s = format(digits < 0 and "%08X" or "%08x", tobit(n) % 4294967296)
    return digits == 0 and "" or sub(s, -abs(digits))
  end
})

-- struct: each returns an iterator over the elements of a format.
local sizes = {b = 1, B = 1, h = 2, H = 2, i = 4, I = 4, l = 8, L = 8, T = 8, f = 4, d = 8, x = 1, s = 0, c = 1}
local function elements(fmt)
  local at, big = 1, false
  return function()
    while at <= #fmt do
      local c = sub(fmt, at, at)
      at = at + 1
      if c == "<" or c == "=" then big = false
      elseif c == ">" then big = true
      elseif c == " " then
      else
        local size = sizes[c]
        if not size then
          error(c == "!" and "struct with alignment is not served by weir's embedded Redis; use a real one with --redis"
            or "invalid format option '" .. c .. "'", 0)
        end
        if c == "i" or c == "I" or c == "c" then
          local _, last, digits = find(fmt, "^(%d+)", at)
          if digits then size, at = tonumber(digits), last + 1 end
          if c ~= "c" and (size < 1 or size > 32) then error("integral size " .. size .. " is larger than limit of 32", 0) end
        end
        return c, size, big
      end
    end
  end
end

-- packable returns a value in the type that struct.pack needs.
local function packable(v, number, arg)
  local t = type(v)
  if number then v = tonumber(v) elseif t ~= "string" and t ~= "number" then v = nil end
  if v == nil then
    error("bad argument #" .. arg + 1 .. " to 'pack' (" .. (number and "number" or "string") .. " expected, got " .. t .. ")", 0)
  end
  return v
end

library("struct", {
  pack = function(fmt, ...)
    local out, arg = {}, 0
    for c, size, big in elements(fmt) do
      local v
      if c ~= "x" then
        arg = arg + 1
        v = select(arg, ...)
        v = packable(v, c ~= "s" and c ~= "c", arg)
      end
      if c == "x" then out[#out + 1] = "\0"
      elseif c == "s" then out[#out + 1] = tostring(v) .. "\0"
      elseif c == "c" then
        v = tostring(v)
        if size == 0 then size = #v end
        if #v < size then error("bad argument #" .. arg + 1 .. " to 'pack' (string too short)", 0) end
        out[#out + 1] = sub(v, 1, size)
      elseif c == "f" then out[#out + 1] = real(v, 8, 23, big)
      elseif c == "d" then out[#out + 1] = real(v, 11, 52, big)
      else
        out[#out + 1] = integer(v < 0 and -floor(-v) or floor(v), size, big)
      end
    end
    return concat(out)
  end,
  unpack = function(fmt, s, at)
    local out, n = {}, 0
    at = floor(at or 1)
    for c, size, big in elements(fmt) do
      local v
      if at < 1 then error("data string too short", 0) end
      if c == "s" then
        local stop = find(s, "\0", at, true)
        if not stop then error("unfinished string in data", 0) end
        v, size = sub(s, at, stop - 1), stop - at + 1
      else
        if c == "c" and size == 0 then
          if type(out[n]) ~= "number" then error("format `c0' needs a previous size", 0) end
          size, n = floor(out[n]), n - 1
        end
        if not (size >= 0 and at + size - 1 <= #s) then error("data string too short", 0) end
        if c == "c" then v = sub(s, at, at + size - 1)
        elseif c == "f" then v = unreal(s, at, 8, 23, big)
        elseif c == "d" then v = unreal(s, at, 11, 52, big)
        elseif c == "b" or c == "h" or c == "i" or c == "l" then v = sinteger(s, at, size, big)
        elseif c ~= "x" then v = uinteger(s, at, size, big) end
      end
      if c ~= "x" then n = n + 1; out[n] = v end
      at = at + size
    end
    out[n + 1] = at
    return unpack(out, 1, n + 1)
  end,
  size = function(fmt)
    local n = 0
    for c, size in elements(fmt) do
      if c == "s" or c == "c" and size == 0 then error("variable-size format for size", 0) end
      n = n + size
    end
    return n
  end
})

-- cmsgpack: lua_cmsgpack; the writer takes the shortest form.
local function sized(n, small, limit, codes)
  if limit and n < limit then return char(small + n) end
  for i = 1, 3 do
    if codes[i] and n < 256 ^ (2 ^ (i - 1)) then return char(codes[i]) .. integer(n, 2 ^ (i - 1), true) end
  end
end

local function packnumber(n)
  if n ~= floor(n) or abs(n) >= 9223372036854775808 then
    local short = real(n, 8, 23, true)
    if unreal(short, 1, 8, 23, true) == n then return "\202" .. short end
    return "\203" .. real(n, 11, 52, true)
  elseif n >= 0 then
    if n < 4294967296 then return sized(n, 0, 128, {204, 205, 206}) end
    return "\207" .. integer(n, 8, true)
  elseif n >= -32 then return char(256 + n)
  elseif n >= -128 then return "\208" .. integer(n, 1, true)
  elseif n >= -32768 then return "\209" .. integer(n, 2, true)
  elseif n >= -2147483648 then return "\210" .. integer(n, 4, true)
  end
  return "\211" .. integer(n, 8, true)
end

local function packvalue(out, v, depth)
  local t = type(v)
  if t == "string" then
    out[#out + 1] = sized(#v, 160, 32, {217, 218, 219})
    out[#out + 1] = v
  elseif t == "number" then out[#out + 1] = packnumber(v)
  elseif t == "boolean" then out[#out + 1] = v and "\195" or "\194"
  elseif t == "table" and depth < 16 then
    local count, top = 0, 0
    for k in pairs(v) do
      count = count + 1
      if type(k) ~= "number" or k < 1 or k ~= floor(k) then top = huge
      elseif k > top then top = k end
    end
    if count == top then
      out[#out + 1] = sized(count, 144, 16, {nil, 220, 221})
      for i = 1, count do packvalue(out, v[i], depth + 1) end
    else
      out[#out + 1] = sized(count, 128, 16, {nil, 222, 223})
      for k, e in pairs(v) do
        packvalue(out, k, depth + 1)
        packvalue(out, e, depth + 1)
      end
    end
  else out[#out + 1] = "\192" end
end

local unpackvalue
local function need(s, at, n)
  if at + n - 1 > #s then error("Missing bytes in input.", 0) end
end

local function unpackstring(s, at, n)
  need(s, at, n)
  return sub(s, at, at + n - 1), at + n
end

local function unpackarray(s, at, n)
  local t = {}
  for i = 1, n do t[i], at = unpackvalue(s, at) end
  return t, at
end

local function unpackmap(s, at, n)
  local t, k, v = {}
  for _ = 1, n do
    k, at = unpackvalue(s, at)
    v, at = unpackvalue(s, at)
    if k ~= nil then t[k] = v end
  end
  return t, at
end

local kinds = {
  [196] = {1, unpackstring}, [197] = {2, unpackstring}, [198] = {4, unpackstring},
  [217] = {1, unpackstring}, [218] = {2, unpackstring}, [219] = {4, unpackstring},
  [220] = {2, unpackarray}, [221] = {4, unpackarray}, [222] = {2, unpackmap}, [223] = {4, unpackmap}
}
unpackvalue = function(s, at)
  need(s, at, 1)
  local c = byte(s, at)
  at = at + 1
  if c < 128 then return c, at
  elseif c < 144 then return unpackmap(s, at, c - 128)
  elseif c < 160 then return unpackarray(s, at, c - 144)
  elseif c < 192 then return unpackstring(s, at, c - 160)
  elseif c == 192 then return nil, at
  elseif c == 194 or c == 195 then return c == 195, at
  elseif c >= 224 then return c - 256, at
  elseif c == 202 then need(s, at, 4) return unreal(s, at, 8, 23, true), at + 4
  elseif c == 203 then need(s, at, 8) return unreal(s, at, 11, 52, true), at + 8
  elseif c >= 204 and c <= 207 then
    local size = 2 ^ (c - 204)
    need(s, at, size)
    return uinteger(s, at, size, true), at + size
  elseif c >= 208 and c <= 211 then
    local size = 2 ^ (c - 208)
    need(s, at, size)
    return sinteger(s, at, size, true), at + size
  elseif kinds[c] then
    local size = kinds[c][1]
    need(s, at, size)
    return kinds[c][2](s, at + size, uinteger(s, at, size, true))
  end
  error("Bad data format in input.", 0)
end

local function unpacklimit(s, limit, offset)
  local at, out, n = offset + 1, {}, 0
  while at <= #s and n < limit do
    n = n + 1
    out[n], at = unpackvalue(s, at)
  end
  return at > #s and -1 or at - 1, out, n
end

library("cmsgpack", {
  pack = function(...)
    local out, n = {}, select("#", ...)
    if n == 0 then error("bad argument #0 to 'pack' (MessagePack pack needs input.)", 0) end
    for i = 1, n do packvalue(out, (select(i, ...)), 0) end
    return concat(out)
  end,
  unpack = function(s)
    local _, out, n = unpacklimit(s, huge, 0)
    return unpack(out, 1, n)
  end,
  unpack_one = function(s, offset)
    local next, out = unpacklimit(s, 1, offset or 0)
    return next, out[1]
  end,
  unpack_limit = function(s, limit, offset)
    local next, out, n = unpacklimit(s, limit, offset or 0)
    return next, unpack(out, 1, n)
  end
})

-- cjson: lua-cjson with its defaults.
local escaped = {['"'] = '\\"', ["\\"] = "\\\\", ["/"] = "\\/", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t"}
local function quote(s)
  return '"' .. string.gsub(s, '[%c"\\/]', function(c) return escaped[c] or format("\\u%04x", byte(c)) end) .. '"'
end

local function jsonnumber(n)
  if n ~= n or abs(n) == huge then error("Cannot serialise number: must not be NaN or Inf", 0) end
  return format("%.14g", n)
end

local function jsonvalue(out, v, depth)
  local t = type(v)
  if t == "string" then out[#out + 1] = quote(v)
  elseif t == "number" then out[#out + 1] = jsonnumber(v)
  elseif t == "boolean" then out[#out + 1] = tostring(v)
  elseif v == nil or v == null then out[#out + 1] = "null"
  elseif t ~= "table" then error("Cannot serialise " .. t .. ": type not supported", 0)
  else
    depth = depth + 1
    if depth > 1000 then error("Cannot serialise, excessive nesting (" .. depth .. ")", 0) end
    local count, top = 0, 0
    for k in pairs(v) do
      if type(k) ~= "number" or k < 1 or k ~= floor(k) then top = 0 break end
      count = count + 1
      if k > top then top = k end
    end
    if top > 0 then
      if top > count * 2 and top > 10 then error("Cannot serialise table: excessively sparse array", 0) end
      for i = 1, top do
        out[#out + 1] = i == 1 and "[" or ","
        jsonvalue(out, v[i], depth)
      end
      out[#out + 1] = "]"
    else
      local before = "{"
      for k, e in pairs(v) do
        if type(k) ~= "number" and type(k) ~= "string" then
          error("Cannot serialise table: table key must be a number or string", 0)
        end
        out[#out + 1] = before .. (type(k) == "string" and quote(k) or '"' .. jsonnumber(k) .. '"') .. ":"
        jsonvalue(out, e, depth)
        before = ","
      end
      out[#out + 1] = before == "{" and "{}" or "}"
    end
  end
end

local function utf8(n)
  if n < 128 then return char(n) end
  if n < 2048 then return char(192 + floor(n / 64), 128 + n % 64) end
  if n < 65536 then return char(224 + floor(n / 4096), 128 + floor(n / 64) % 64, 128 + n % 64) end
  return char(240 + floor(n / 262144), 128 + floor(n / 4096) % 64, 128 + floor(n / 64) % 64, 128 + n % 64)
end

local function expected(what, at)
  error("Expected " .. what .. " but found invalid token at character " .. at, 0)
end

local plain = {['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t"}
local function readstring(s, at)
  local out, begun = {}, at
  at = at + 1
  while true do
    local stop = find(s, '[%c"\\]', at)
    if not stop then expected("value", begun) end
    out[#out + 1] = sub(s, at, stop - 1)
    local c = sub(s, stop, stop)
    if c == '"' then return concat(out), stop + 1 end
    if c ~= "\\" then
      if c ~= "\127" then expected("value", stop) end
      out[#out + 1], at = c, stop + 1
    else
      local e = sub(s, stop + 1, stop + 1)
      if plain[e] then out[#out + 1], at = plain[e], stop + 2
      else
        local _, _, hex = find(s, "^u(%x%x%x%x)", stop + 1)
        local n = hex and tonumber(hex, 16)
        at = stop + 6
        if n and n >= 55296 and n < 56320 then
          local _, _, low = find(s, "^\\u(%x%x%x%x)", at)
          low = low and tonumber(low, 16)
          n = low and low >= 56320 and low < 57344 and 65536 + (n - 55296) * 1024 + low - 56320
          at = at + 6
        end
        if not n then expected("value", stop) end
        out[#out + 1] = utf8(n)
      end
    end
  end
end

local function skip(s, at) return (find(s, "[^ \t\r\n]", at)) or #s + 1 end

local words = {{"true", true}, {"false", false}, {"null", null}}
local function readvalue(s, at, depth)
  at = skip(s, at)
  local c = sub(s, at, at)
  if c == '"' then return readstring(s, at) end
  if c == "{" or c == "[" then
    if depth >= 1000 then error("Found too many nested data structures (1001)", 0) end
    local t, n, close = {}, 0, c == "{" and "}" or "]"
    at = skip(s, at + 1)
    if sub(s, at, at) == close then return t, at + 1 end
    while true do
      local k
      if c == "{" then
        at = skip(s, at)
        if sub(s, at, at) ~= '"' then expected("object key string", at) end
        k, at = readstring(s, at)
        at = skip(s, at)
        if sub(s, at, at) ~= ":" then expected("colon", at) end
        at = at + 1
      else
        n = n + 1
        k = n
      end
      t[k], at = readvalue(s, at, depth + 1)
      at = skip(s, at)
      local after = sub(s, at, at)
      at = at + 1
      if after == close then return t, at end
      if after ~= "," then expected(c == "{" and "comma or object end" or "comma or array end", at - 1) end
    end
  end
  for i = 1, 3 do
    if sub(s, at, at + #words[i][1] - 1) == words[i][1] then return words[i][2], at + #words[i][1] end
  end
  local _, last = find(s, "^-?%d+%.?%d*[eE]?[+-]?%d*", at)
  local n = last and tonumber(sub(s, at, last))
  if not n then expected("value", at) end
  return n, last + 1
end

library("cjson", {
  null = null,
  encode = function(...)
    if select("#", ...) ~= 1 then error("bad argument #1 to 'encode' (expected 1 argument)", 0) end
    local out = {}
    jsonvalue(out, (...), 0)
    return concat(out)
  end,
  decode = function(s)
    s = tostring(s)
    local v, at = readvalue(s, 1, 0)
    at = skip(s, at)
    if at <= #s then expected("the end", at) end
    return v
  end
})
