-- SPDX-License-Identifier: MIT OR Apache-2.0
-- How often is each word there?  Tables, patterns, sorting.
local text = "one fish two fish red fish blue fish black fish blue fish old fish new fish"
local count, words = {}, {}
for word in text:gmatch("%a+") do
    if not count[word] then words[#words + 1] = word end
    count[word] = (count[word] or 0) + 1
end
table.sort(words, function(a, b)
    if count[a] ~= count[b] then return count[a] > count[b] end
    return a < b
end)
for i = 1, 3 do print(count[words[i]], words[i]) end
-- prints: 8	fish
-- prints: 2	blue
-- prints: 1	black
