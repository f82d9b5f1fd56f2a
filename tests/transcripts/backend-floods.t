# Lines without end, and untagged lines without end, are a server that can't be understood.
row 32

scene a line of 10 MB
with at greeting | capability | login
backend caps IMAP4rev1
backend greeting * OK ready
backend $at * OK \(x*10000000)
backend $at !hang
C> a LOGIN ann pa55word
C~ a NO [UNAVAILABLE] ...

scene untagged lines
with at capability | login
backend greeting * OK ready
backend $at !flood
C> a LOGIN ann pa55word
C~ a NO [UNAVAILABLE] ...

scene a line without an end
profile impatient
with at greeting | login
backend $at !unended * OK still
backend $at !hang
C> a LOGIN ann pa55word
C~ a NO [UNAVAILABLE] ...
