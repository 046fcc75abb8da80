-- Sends the requests of a file in turn, as load.lua does, each with the time as its request ID.
-- Writes a line for each response to another file: its status, and its latency in milliseconds.
-- The server returns the ID. wrk itself does not tell the latency of refusals from the others.
local ffi = require("ffi")
ffi.cdef [[
  typedef struct { long seconds; long nanoseconds; } overload_time;
  int clock_gettime(int clock, overload_time *time);
]]
local MONOTONIC, PLACE = 1, "request-id-of-the-request"
local clock = ffi.new("overload_time")
local requests, count, index = {}, 0, 0
local responses

local function now()
  ffi.C.clock_gettime(MONOTONIC, clock)
  return tonumber(clock.seconds) * 1e3 + tonumber(clock.nanoseconds) / 1e6
end

function init(arguments)
  for line in io.lines(arguments[1]) do
    local method, path, token, body = line:match("^(.-)\t(.-)\t(.-)\t(.*)$")
    local headers = { ["Authorization"] = "Bearer " .. token, ["X-Request-ID"] = PLACE }
    if body == "" then body = nil else headers["Content-Type"] = "application/json" end
    local text = wrk.format(method, path, headers, body)
    local first, last = text:find(PLACE, 1, true)
    count = count + 1
    requests[count] = { text:sub(1, first - 1), text:sub(last + 1) }
  end
  responses = io.open(arguments[2], "w")
end

function request()
  index = index % count + 1
  local parts = requests[index]
  return parts[1] .. string.format("%.3f", now()) .. parts[2]
end

function response(status, headers)
  local sent = tonumber(headers["x-request-id"] or headers["X-Request-ID"])
  responses:write(string.format("%d %.3f\n", status, sent and now() - sent or -1))
end
