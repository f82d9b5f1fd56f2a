# When the server behind goes away, the client is told, by a code that means: come again.
row C2
C> a LOGIN ann pa55word
C~ a OK ...
C> b SELECT INBOX
B~ b SELECT INBOX

scene closed
B close
C~ * BYE [UNAVAILABLE] ...
C closed

scene reset
B reset
C~ * BYE [UNAVAILABLE] ...
C closed

scene in the middle of a line
B>> * 3 EXI
B close
C gone

scene with a word of its own
B> * BYE going down
B close
C~ * BYE ...
C closed
