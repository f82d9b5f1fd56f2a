// A cache of an account, as a program keeps it that uses imapflow: clients.py runs it, once a synchronization.
//   node imapflow.cjs '{"port":…,"user":…,"pass":…,"cache":FILE,"changes":[…]}'
// Where UIDVALIDITY is another one, it says so and forgets the mailbox. It asks for what changed since its MODSEQ where the
// server has CONDSTORE, and for all flags where not.
'use strict';
const fs = require('fs');
const { ImapFlow } = require('imapflow');

const task = JSON.parse(process.argv[2]);
const cache = fs.existsSync(task.cache) ? JSON.parse(fs.readFileSync(task.cache)) : { mailboxes: {} };
const client = new ImapFlow({
    host: '127.0.0.1', port: task.port, secure: false, doSTARTTLS: false, logger: false, qresync: true,
    auth: { user: task.user, pass: task.pass },
});
client.on('error', e => console.log(`error: ${e.message}`));

function markOf(source) {
    const found = /^Subject: mark (\w+)/im.exec(source.toString('latin1'));
    return found ? found[1] : null;
}

async function change(one) {
    if (one.verb === 'add')
        return client.append(one.mailbox, one.text, ['\\Seen']);
    const lock = await client.getMailboxLock(one.mailbox);
    try {
        const messages = cache.mailboxes[one.mailbox].messages;
        const uid = Object.keys(messages).find(x => messages[x].mark === one.mark);
        if (one.verb === 'flag')
            await client.messageFlagsAdd(uid, ['\\Flagged'], { uid: true });
        else
            await client.messageDelete(uid, { uid: true });
    } finally {
        lock.release();
    }
}

// Some at a time: servers take commands of 8 KB.
async function fetchNew(box, uids) {
    for (let at = 0; at < uids.length; at += 500) {
        const some = uids.slice(at, at + 500).join(',');
        for await (const m of client.fetch(some, { uid: true, flags: true, source: true }, { uid: true }))
            box.messages[m.uid] = { mark: markOf(m.source), flags: [...m.flags] };
    }
}

// What is there, in one SEARCH, and the flags: all, or those that changed.
async function syncOpen(path) {
    const now = client.mailbox;
    let box = cache.mailboxes[path];
    if (box && box.uidValidity !== String(now.uidValidity)) {
        console.log(`UIDVALIDITY of ${path} changed from ${box.uidValidity} to ${now.uidValidity}`);
        box = null;
    }
    box = cache.mailboxes[path] = box || { messages: {} };
    const there = now.exists ? await client.search({ all: true }, { uid: true }) : [];
    const isThere = new Set(there.map(String));
    for (const uid of Object.keys(box.messages))
        if (!isThere.has(uid))
            delete box.messages[uid];
    const known = there.filter(uid => box.messages[uid]);
    const modseq = now.highestModseq ? String(now.highestModseq) : '';
    if (known.length && !(modseq && modseq === box.modseq)) {
        const options = { uid: true };
        if (modseq && box.modseq)
            options.changedSince = BigInt(box.modseq);
        for await (const m of client.fetch('1:*', { uid: true, flags: true }, options))
            if (box.messages[m.uid])
                box.messages[m.uid].flags = [...m.flags];
    }
    const missing = there.filter(uid => !box.messages[uid]);
    if (missing.length)
        await fetchNew(box, missing);
    if (now.uidNext <= Math.max(0, ...there))
        console.log(`error: UIDNEXT of ${path} is ${now.uidNext}, and a UID ${Math.max(...there)}`);
    Object.assign(box, { uidValidity: String(now.uidValidity), uidNext: now.uidNext, modseq });
}

async function main() {
    await client.connect();
    for (const one of task.changes)
        await change(one);
    const list = (await client.list()).filter(x => !x.flags.has('\\Noselect') && !x.flags.has('\\NonExistent'));
    for (const { path } of list) {
        const lock = await client.getMailboxLock(path);
        try {
            await syncOpen(path);
        } finally {
            lock.release();
        }
    }
    for (const path of Object.keys(cache.mailboxes))
        if (!list.some(x => x.path === path)) {
            console.log(`error: ${path} is gone`);
            delete cache.mailboxes[path];
        }
    await client.logout();
    fs.writeFileSync(task.cache, JSON.stringify(cache));
}

main().catch(e => {
    console.log(`error: ${e.stack} ${e.responseText || ''}`);
    process.exitCode = 1;
});
