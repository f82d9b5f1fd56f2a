# EXTERNAL (RFC 4422 appendix A): who a client is, its certificate says, and nothing else does.
row C10
profile certificates
listener tls

scene the certificate's name
C connect certificate ann
C< * OK [CAPABILITY ... AUTH=EXTERNAL ...
C> a AUTHENTICATE EXTERNAL =
C~ a OK ...
B heard ann@example.org

scene without initial response
C connect certificate ann
C< * OK ...
C> a AUTHENTICATE EXTERNAL
C< + ...
C> 
C~ a OK ...
B heard ann@example.org

scene another name
C connect certificate ann
C< * OK ...
C> a AUTHENTICATE EXTERNAL \b64<bob@example.org>
C~ a NO [AUTHENTICATIONFAILED] ...
B never bob

scene a name that is none
with name ann\0@example.org | a\nb | a\xff
C connect certificate ann
C< * OK ...
C> a AUTHENTICATE EXTERNAL \b64<$name>
C~ a {{NO|BAD}} ...
C> b NOOP
C~ b OK ...
B logins 0

scene no certificate
C connect
C< * OK [CAPABILITY {{(?!.*EXTERNAL).*}}
C> a AUTHENTICATE EXTERNAL =
C~ a {{NO|BAD}} ...
B logins 0

scene an expired one, and one that somebody has signed for himself
with which old-ann | own-ann
C connect certificate $which
C> a AUTHENTICATE EXTERNAL =
C> b LOGOUT
C< * OK [CAPABILITY {{(?!.*EXTERNAL).*}}
C~ a {{NO|BAD}} ...
C~ b OK ...
B logins 0
