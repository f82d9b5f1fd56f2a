# Names and passwords of 8 KB, 64 KB and 1 MB end at a cap.
row 14

scene literal that is not asked for
with size 8192 | 65536 | 1048576
C> a LOGIN {$size+}
C>> \(n*$size)
C>  pa55word
C~ {{a BAD|a NO|\* BYE|\* BAD}} ...
B logins 0

scene literal that is asked for
with size 65536 | 1048576
C> a LOGIN {$size}
C< a {{BAD|NO}} ...
C> b NOOP
C~ b OK ...
B logins 0

scene atom
with size 8192 | 65536 | 1048576
C> a LOGIN \(n*$size) pa55word
C~ {{a BAD|a NO|\* BYE|\* BAD}} ...
B logins 0

scene PLAIN
with size 8192 | 65536 | 1048576
C> a AUTHENTICATE PLAIN
C< + ...
C> \b64<\0\(n*$size)\0pa55word>
C~ {{a BAD|a NO|\* BYE|\* BAD}} ...
B logins 0
