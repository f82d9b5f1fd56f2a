# A name with a line end in it is a command of its own to a server that is given it as it is.
row 6
with name alice\r\nX1\sDELETE\sINBOX | alice\rX1\sDELETE\sINBOX | alice\nX1\sDELETE\sINBOX

scene literal
C> a LOGIN \lit<$name> pa55word
C~ a {{NO|BAD}} ...
B never DELETE

scene PLAIN
C> a AUTHENTICATE PLAIN \b64<\0$name\0pa55word>
C~ a {{NO|BAD}} ...
B never DELETE
