# A program in C that takes it for the end lets everybody in who knows the beginning.
row 8

scene literal
with password pa\0ss12 | \0pa55word | pa55word\0
C> a LOGIN ann \lit<$password>
C~ a {{NO|BAD}} ...
B logins 0

scene literal of a name
C> a LOGIN \lit<ann\0x> pa55word
C~ a {{NO|BAD}} ...
B logins 0

scene in a line
with password pa\0ss12 | "pa\0ss12"
C> a LOGIN ann $password
C~ {{a (NO|BAD)|\* BYE|\* BAD}} ...
B logins 0
