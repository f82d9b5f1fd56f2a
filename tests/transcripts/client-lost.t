# When the client goes away, so does the connection to the server behind.
row C3
C> a LOGIN ann pa55word
C~ a OK ...
C> b SELECT INBOX
B~ b SELECT INBOX

scene closed
C close
B> b OK done
B gone

scene reset
C reset
B gone

scene LOGOUT
B> b OK done
C~ b OK ...
C> c LOGOUT
B~ c LOGOUT
B> * BYE bye
B> c OK done
B close
C~ * BYE ...
C~ c OK ...
C closed
