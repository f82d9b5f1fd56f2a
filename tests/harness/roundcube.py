"""Debian's Roundcube, unpacked into build/servers (tests/servers.sh), on PHP's own HTTP server: a webmail that signs in anew for
each click.

    with Roundcube(port_of_imap) as webmail:
        browser = webmail.browser("127.0.0.9")      # which address it has
        browser.login(user, "secret"); browser.uids("INBOX"); browser.show("INBOX", 1); browser.flag("INBOX", 1)

The plugin of conf/ tells IMAP servers the browser's address.
"""
import glob
import http.client
import json
import os
import re
import shutil
import subprocess
import urllib.parse

from . import dovecot_conf, net
from .unpacked import SERVERS

EXTENSIONS = ("mbstring", "intl", "dom", "iconv", "ctype", "pdo", "pdo_sqlite", "tokenizer", "fileinfo")

ROUTER = """<?php
define('INSTALL_PATH', '{public}/');
define('RCUBE_PLUGINS_DIR', '{folder}/plugins/');
$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
if ($path !== '/') {{
    http_response_code(404);
    exit;
}}
require '{public}/index.php';
"""

CONFIG = """<?php
$config['db_dsnw'] = 'sqlite:///{folder}/db.sqlite?mode=0600';
$config['imap_host'] = '127.0.0.1:{port}';
$config['des_key'] = 'twenty-four characters..';
$config['log_dir'] = '{folder}/logs';
$config['temp_dir'] = '{folder}/temp';
$config['plugins'] = ['imapferry_client'];
$config['login_rate_limit'] = 1000;
"""


class Roundcube:
    def __init__(self, imap_port):
        self.folder = net.temp_folder("roundcube")
        self.port = net.free_port()
        tree = os.path.join(SERVERS, "roundcube")
        public = os.path.join(tree, "usr/share/roundcube")
        programs = glob.glob(os.path.join(tree, "usr/bin/php[0-9]*"))
        if not programs or not os.path.isdir(public):
            raise RuntimeError(f"no Roundcube in {tree}: run tests/servers.sh")
        self._configure(tree, public, imap_port)
        modules, = glob.glob(os.path.join(tree, "usr/lib/php/20*"))
        options = {"extension_dir": modules, "include_path": f".:{tree}/usr/share/php", "session.save_path": f"{self.folder}/temp"}
        libraries = glob.glob(os.path.join(tree, "usr/lib/*-linux-gnu")) + glob.glob(os.path.join(tree, "lib/*-linux-gnu"))
        self._log = open(os.path.join(self.folder, "php.log"), "wb")  # pylint: disable=consider-using-with
        self._process = subprocess.Popen(
            [programs[0], "-n", *(x for k, v in options.items() for x in ("-d", f"{k}={v}")),
             *(x for e in EXTENSIONS for x in ("-d", f"extension={e}")),
             "-S", f"{net.HOST}:{self.port}", "-t", self.folder, os.path.join(self.folder, "router.php")],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, start_new_session=True,
            env=dict(os.environ, ROUNDCUBE_CONFIG_DIR=f"{self.folder}/config", LD_LIBRARY_PATH=":".join(libraries)))
        net.wait_until("Roundcube", lambda: net.accepts((net.HOST, self.port)))

    def _configure(self, tree, public, imap_port):
        for name in ("config", "logs", "temp", "plugins/imapferry_client"):
            os.makedirs(os.path.join(self.folder, name))
        for plugin in os.listdir(os.path.join(public, "plugins")):
            os.symlink(os.path.join(public, "plugins", plugin), os.path.join(self.folder, "plugins", plugin))
        shutil.copy(os.path.join(dovecot_conf.CONF, "roundcube-imapferry_client.php"),
                    os.path.join(self.folder, "plugins/imapferry_client/imapferry_client.php"))
        for name in ("defaults.inc.php", "mimetypes.php"):
            shutil.copy(os.path.join(tree, "etc/roundcube", name), os.path.join(self.folder, "config"))
        for name, text in (("router.php", ROUTER), ("config/config.inc.php", CONFIG)):
            with open(os.path.join(self.folder, name), "w", encoding="utf-8") as f:
                f.write(text.format(public=public, folder=self.folder, port=imap_port))

    def browser(self, address):
        return Browser(self, address)

    def log(self):
        """What Roundcube and PHP had to complain of."""
        found = []
        for name in sorted(glob.glob(os.path.join(self.folder, "logs/*"))) + [os.path.join(self.folder, "php.log")]:
            with open(name, encoding="utf-8", errors="replace") as f:
                found += [line for line in f if not re.search(r"(Accepted|Closing|started)$", line)]
        return "".join(found[-20:])

    def close(self):
        net.stop_process(self._process)
        self._log.close()
        net.remove_folder(self.folder)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Browser:
    def __init__(self, webmail, address):
        self._webmail, self._address = webmail, address
        self._cookies, self._token = {}, ""

    def _ask(self, method, query, form=None):
        """(status, text) of a page."""
        connection = http.client.HTTPConnection(net.HOST, self._webmail.port, timeout=60, source_address=(self._address, 0))
        headers = {"Cookie": "; ".join(f"{k}={v}" for k, v in self._cookies.items()), "X-Roundcube-Request": self._token}
        body = None
        if form is not None:
            body = urllib.parse.urlencode(dict(form, _token=self._token))
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request(method, "/?" + urllib.parse.urlencode(query), body, headers)
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = cookie.split(";")[0].partition("=")
            self._cookies[name] = value
        token = re.search(r'"request_token":"([^"]+)"', text)
        self._token = token.group(1) if token else self._token
        connection.close()
        return answer.status, text

    def login(self, user, password):
        """True where Roundcube shows the mail then."""
        self._cookies.clear()
        self._ask("GET", {})
        status, _ = self._ask("POST", {"_task": "login"}, {"_task": "login", "_action": "login", "_user": user, "_pass": password,
                                                           "_timezone": "UTC"})
        if status != 302:
            return False
        status, text = self._ask("GET", {"_task": "mail"})
        assert status == 200 and '"task":"mail"' in text, (status, text[:500], self._webmail.log())
        return True

    def _click(self, action, form=None, **query):
        """A request of a page that stays open: the commands that it is told."""
        status, text = self._ask("POST" if form else "GET", dict(query, _task="mail", _action=action, _remote=1), form)
        try:
            answer = json.loads(text)
        except ValueError:
            answer = {}
        assert status == 200 and answer.get("action") == action, (status, text[:500], self._webmail.log())
        assert '"error"' not in answer["exec"], (answer["exec"], self._webmail.log())
        return answer["exec"]

    def uids(self, mailbox):
        return sorted(int(x) for x in re.findall(r"add_message_row\((\d+),", self._click("list", _mbox=mailbox)))

    def show(self, mailbox, uid):
        """The page of a message."""
        status, text = self._ask("GET", {"_task": "mail", "_action": "show", "_mbox": mailbox, "_uid": uid})
        assert status == 200 and '"action":"show"' in text, (status, text[:500], self._webmail.log())
        return text

    def flag(self, mailbox, uid):
        self._click("mark", {"_uid": uid, "_mbox": mailbox, "_flag": "flagged"})
