# The server behind is told who the client is.
row 38

scene version 2
profile header-out
C> a LOGIN ann pa55word
C~ a OK ...
B heard header of $client

scene version 1
profile header-out-v1
C> a LOGIN ann pa55word
C~ a OK ...
B heard header of $client
