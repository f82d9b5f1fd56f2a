# Messages of PLAIN that are none: too many fields, too few, empty ones.
row 9

scene
with message \b64<> | \b64<\0> | \b64<\0\0> | \b64<\0\0pa55word> | \b64<\0ann\0> | \b64<ann\0pa55word> | \b64<\0ann\0pa55\0word> | \b64<\0ann\0pa55word\0> | \b64<annpa55word>
C> a AUTHENTICATE PLAIN
C< + ...
C> $message
C~ a {{NO|BAD}} ...
C> b AUTHENTICATE PLAIN \b64<\0ann\0pa55word>
C~ b OK ...
B login ann pa55word
