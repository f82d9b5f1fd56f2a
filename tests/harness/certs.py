"""A certificate authority for tests, made by the openssl command: good certificates and every kind of bad one."""
import os
import subprocess
import time


def _openssl(*args):
    subprocess.run(["openssl", *args], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


class Authority:
    """CA in a folder; self.ca is the file to trust."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        self.ca = os.path.join(folder, "ca.pem")
        self._key = os.path.join(folder, "ca.key")
        self._serial = 0
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                 "-subj", "/CN=imapferry test authority", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                 "-keyout", self._key, "-out", self.ca)

    def issue(self, label, names=("localhost", "127.0.0.1"), expired=False, self_signed=False, days=30, rsa=0, digest="sha256", usage="serverAuth"):
        """(certificate, key) for these DNS names and addresses, those with "@" of people; () = the label alone, as its CN. rsa: bits of a key of that kind."""
        self._serial += 1
        base = os.path.join(self.folder, f"{label}-{self._serial}")
        cert, key, request, extensions = (base + end for end in (".pem", ".key", ".csr", ".ext"))
        alt = ",".join(("email:" if "@" in n else "IP:" if n[0].isdigit() or ":" in n else "DNS:") + n for n in names)
        with open(extensions, "w", encoding="ascii") as f:
            f.write(f"{f'subjectAltName={alt}' if alt else ''}\nextendedKeyUsage={usage}\nbasicConstraints=CA:FALSE\n")
        kind = [f"rsa:{rsa}"] if rsa else ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        _openssl("req", "-new", "-newkey", *kind, "-nodes", "-subj", f"/CN={label}", "-keyout", key,
                 "-out", request)
        # Without days it ends in the second in which it is made; OpenSSL 3.4 and later take no negative number.
        sign = ["x509", "-req", f"-{digest}", "-in", request, "-out", cert, "-extfile", extensions,
                "-set_serial", str(1000 + self._serial), "-days", "0" if expired else str(days)]
        _openssl(*sign, *(["-signkey", key] if self_signed else ["-CA", self.ca, "-CAkey", self._key]))
        made = int(time.time())
        while expired and int(time.time()) == made:
            time.sleep(0.05)
        return cert, key
