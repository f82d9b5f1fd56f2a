# The server behind hears the client's address and what it calls itself by ID.
row C5

scene address
C> a LOGIN ann pa55word
C~ a OK ...
B heard "x-originating-ip" "$client"
B heard "x-session-id"

scene what it calls itself
profile forwarding
C> a ID ("name" "Outlook" "version" "16")
C~ a OK ...
C> b LOGIN ann pa55word
C~ b OK ...
B heard "Outlook"
