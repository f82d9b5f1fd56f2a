# A literal that can't be: no "+" that asks for it, and the session goes on.
row 15

scene not asked for
with size {4294967296} | {18446744073709551616} | {-1} | { 5} | {05} | {} | {99999}
C> a LOGIN $size
C~ a BAD ...
C> b LOGIN ann pa55word
C~ b OK ...
B login ann pa55word

scene comes anyway and can not be told from commands
with size {4294967296+} | {18446744073709551616+} | {5++} | {05+} | {5-}
C> a LOGIN $size
C~ a BAD ...
C~ * BYE ...
C closed
B connections 0
