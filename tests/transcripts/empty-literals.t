# A literal of no bytes is a string of no bytes: nothing behind it is lost or taken for it.
row 16

scene name
C> a LOGIN {0+}
C>  pa55word
C~ a {{NO|BAD}} ...
C> b NOOP
C~ b OK ...

scene password
C> a LOGIN ann {0+}
C> 
C~ a {{NO|BAD}} ...
C> b LOGIN ann pa55word
C~ b OK ...
B login ann pa55word

scene asked for
C> a LOGIN {0}
C< + ...
C>  {8}
C< + ...
C> pa55word
C~ a {{NO|BAD}} ...
C> b NOOP
C~ b OK ...
