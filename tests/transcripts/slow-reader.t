# What one side sends faster than the other reads waits, and all of it arrives.
row 36

scene a client that reads late
C> a LOGIN ann pa55word
C~ a OK ...
C> b FETCH 1 BODY[]
B< b FETCH 1 BODY[]
B> * 1 FETCH (BODY[] {33554432}
B pours 33554432
C~ * 1 FETCH (BODY[] {33554432}
C takes 33554432
B> )
B> b OK done
C< )
C~ b OK ...

scene a server that reads late
C> a LOGIN ann pa55word
C~ a OK ...
C> b APPEND INBOX {33554432}
B~ b APPEND INBOX {{"?}}{33554432{{\+?}}}
B> + OK
C< + ...
C pours 33554432
B takes 33554432
C> 
B< 
B> b OK done
C~ b OK ...
