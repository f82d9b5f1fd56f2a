# No name with control characters, and 8-bit names in UTF-8 alone.
row 11

scene refused
with name an\x01n | an\x7fn | an\tn | an\rn | an\nn | an\en | an\xffn | \xc3 | \xc0\xafann | \xed\xa0\x80
C> a AUTHENTICATE PLAIN \b64<\0$name\0pa55word>
C~ a {{NO|BAD}} ...
B logins 0

scene refused as a literal
with name an\x01n | an\x7fn | an\tn | an\rn | an\nn | an\en | an\xffn | \xc3 | \xc0\xafann | \xed\xa0\x80
C> a LOGIN \lit<$name> pa55word
C~ a {{NO|BAD}} ...
B logins 0

scene UTF-8
with name j\xc3\xb6rg@example.org | \xe6\x97\xa5\xe6\x9c\xac
C> a AUTHENTICATE PLAIN \b64<\0$name\0pa55word>
C~ a OK ...
B login $name pa55word
