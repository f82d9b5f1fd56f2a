# Names that are more than an atom arrive as they are: neither two arguments, nor a format, nor a pattern.
row 7 12
with name bob"\s"x | with\sblank | back\\slash | {5} | {5+} | (bob) | per%cent | %s%n | %{x} | b*b | b?b | a:b | ~bob | ]b

scene literal
C> a LOGIN \lit<$name> pa55word
C~ a OK ...
B login $name pa55word

scene PLAIN
C> a AUTHENTICATE PLAIN
C< + ...
C> \b64<\0$name\0pa55word>
C~ a OK ...
B login $name pa55word
