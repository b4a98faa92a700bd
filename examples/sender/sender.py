#!/usr/bin/python3
"""An e-mail sender for crm_marketing: takes messages from the outbox and hands them to a mail relay by SMTP.

No letter is sent twice and none is lost, wherever this program, the database or the relay is killed:

- A claim is committed, and durable, before the first byte goes to the relay. So whatever may have been sent is known to be
  claimed: when nobody says what became of it, the outbox calls it "unknown", and hands it out no more by itself.
- Sending stops well before the lease ends, so that a message that has become unknown is not still on its way from here.
- For a message that is unknown, and has been so for --settle seconds, the evidence is asked: the relay's list of what it has
  accepted (--accepted-log), or this program's own journal (--journal). What was accepted is acknowledged, what surely was not
  is queued again, and what only a person can tell is left to a person.
- The Message-ID is made from the message's id, which stays the same however often it is handed out.

It needs PostgreSQL's psycopg2 and what comes with Python; the role needs crm.grant_access(role, 'sender'). Several may run at
the same time. See README.md beside this file.
"""

import argparse
import email.message
import email.policy
import email.utils
import fcntl
import logging
import os
import re
import select
import signal
import smtplib
import socket
import ssl
import sys
import time
from email.headerregistry import Address

import psycopg2

# A clock that goes on while the machine sleeps, and that nobody sets: leases are measured by it
CLOCK = getattr(time, 'CLOCK_BOOTTIME', time.CLOCK_MONOTONIC)

# Header fields that a template may have parts for, besides subject, text and html
EXTRA_HEADERS = {'reply_to': 'Reply-To', 'list_unsubscribe': 'List-Unsubscribe', 'list_unsubscribe_post': 'List-Unsubscribe-Post'}

# An address that needs no quoting, in the envelope or in the letter
ADDRESS = re.compile(r'[^\x00-\x20\s\x7f"(),:;<>@\[\]\\]+@[^\x00-\x20\s\x7f"(),:;<>@\[\]\\]+')

MESSAGE_ID = re.compile(r'<[^<>\s]+>')


def clock():
    return time.clock_gettime(CLOCK)


def clean(value):
    """A text of somebody else's, fit for a column of the database."""
    if isinstance(value, bytes):
        value = value.decode('utf-8', 'replace')
    return ' '.join(str(value).replace('\0', ' ').split())[:500]


class JournalError(Exception):
    """The journal cannot be used: then nothing may be sent."""


class Journal:
    """What this sender did with each claim, on disk before it matters.

    A line is "what message token". What is claimed is written before the claim is committed, what is begun before the relay
    gets the content: so a message that is claimed and not begun was not sent. "done" says that the database knows the end.
    Without a path nothing is kept.
    """

    def __init__(self, path):
        self.state = {}
        self.file = None
        if path is None:
            return
        try:
            self.open(path)
        except OSError as error:
            raise JournalError(error) from error

    def open(self, path):
        # One sender for each journal
        self.lock = open(path + '.lock', 'w')
        fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            with open(path, encoding='ascii') as file:
                for line in file:
                    # The last line may be half of one
                    match = re.fullmatch(r'(claimed|begun|accepted|refused|done) (\d+) (\d+)\n', line)
                    if match:
                        self.note(match[1], int(match[2]), int(match[3]))
        except FileNotFoundError:
            pass
        # What is done is forgotten
        with open(path + '.new', 'w', encoding='ascii') as file:
            for (message, token), what in self.state.items():
                file.write(f'{what} {message} {token}\n')
            file.flush()
            os.fsync(file.fileno())
        os.rename(path + '.new', path)
        directory = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)
        self.file = open(path, 'a', encoding='ascii')

    def note(self, what, message, token):
        if what == 'done':
            self.state.pop((message, token), None)
        else:
            self.state[message, token] = what

    def write(self, what, keys, sync=False):
        if self.file is None:
            return
        for message, token in keys:
            self.note(what, message, token)
        try:
            self.file.write(''.join(f'{what} {message} {token}\n' for message, token in keys))
            self.file.flush()
            if sync:
                os.fsync(self.file.fileno())
        except OSError as error:
            raise JournalError(error) from error


class Relay:
    """The connection to the mail relay."""

    def __init__(self, options):
        self.options = options
        self.smtp = None
        self.deadline = 0

    def step(self, function, *arguments):
        """One step of a dialogue that is to be over by the deadline, however many steps it has."""
        self.smtp.sock.settimeout(max(self.deadline - clock(), 0.001))
        return function(*arguments)

    def open(self):
        """Connects, and tries whether this sender may send at all, before a message has to suffer for it."""
        if self.smtp is not None:
            return
        options = self.options
        smtp = smtplib.SMTP(*options.smtp, local_hostname=options.helo, timeout=options.timeout)
        try:
            smtp.ehlo_or_helo_if_needed()
            if options.starttls:
                smtp.starttls(context=ssl.create_default_context())
                smtp.ehlo_or_helo_if_needed()
            if options.user is not None:
                smtp.login(options.user, os.environ.get('SMTP_PASSWORD', ''))
            code, reply = smtp.mail(options.return_path)
            if code != 250:
                raise smtplib.SMTPSenderRefused(code, reply, options.return_path)
            smtp.rset()
        except (OSError, ValueError):
            smtp.close()
            raise
        self.smtp = smtp

    def close(self, politely=False):
        if self.smtp is None:
            return
        smtp, self.smtp = self.smtp, None
        try:
            if politely:
                smtp.sock.settimeout(1)
                smtp.quit()
        except OSError:
            pass
        finally:
            smtp.close()

    def send(self, address, content, utf8, begin):
        """Sends one letter; begin() is called before its content goes out.

        Returns what happened, and the relay's words: accepted; refused, for good; failed, it was not sent this time; doubtful.
        """
        self.deadline = clock() + self.options.timeout
        began = False
        try:
            code, reply = self.step(self.smtp.mail, self.options.return_path, ['SMTPUTF8', 'BODY=8BITMIME'] if utf8 else [])
            if code != 250:
                # That is the sender's fault, not the letter's: open() will wait until it is mended
                self.close()
                return 'failed', f'MAIL: {code} {clean(reply)}'
            code, reply = self.step(self.smtp.rcpt, address)
            if 200 <= code < 300:
                code, reply = self.step(self.smtp.docmd, 'DATA')
            if code == 354:
                begin()
                began = True
                self.step(self.smtp.send, re.sub(rb'(?m)^\.', b'..', content) + b'.\r\n')
                code, reply = self.step(self.smtp.getreply)
            words = f'{code} {clean(reply)}'
            if began and 200 <= code < 300:
                return 'accepted', words
            if code == 421 or not 400 <= code < 600:
                self.close()
            elif not began:
                try:
                    self.step(self.smtp.rset)
                except OSError:
                    self.close()
            if 500 <= code < 600:
                return 'refused', words
            if began and not 400 <= code < 500:
                return 'doubtful', words
            return 'failed', words
        except (OSError, ValueError) as error:
            # smtplib's own errors are OSErrors; a ValueError is a command that it will not send
            self.close()
            return ('doubtful' if began else 'failed'), clean(error)


class Sender:
    def __init__(self, options):
        self.options = options
        self.evidence = bool(options.accepted_log or options.journal)
        self.journal = Journal(options.journal)
        self.relay = Relay(options)
        self.db = None
        self.acks = {}              # what the database is still to be told: (message, token) -> the relay's words
        self.nacks = {}             # (message, token) -> (error, permanent)
        self.unbegun = set()        # (message, token) of those to be given back
        self.unknown = {}           # unknown messages -> since when this program has seen them so
        self.doubtful = set()       # those a person was asked about
        self.next_look = 0          # when to look for unknown ones again
        self.failures = 0           # in a row, of the database or the relay
        self.last_used = 0          # when the relay was needed last
        self.stopping = False
        self.waker, self.woken = socket.socketpair()
        for end in (self.waker, self.woken):
            end.setblocking(False)
        signal.set_wakeup_fd(self.waker.fileno())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.stop)

    def stop(self, *_):
        self.stopping = True

    # ---- the database ----

    def connect(self):
        self.db = psycopg2.connect(self.options.dsn, connect_timeout=10)
        self.db.autocommit = True
        # Whatever the defaults are: a claim that a crash undoes after the letter was sent would send it again
        self.query("""SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'""")
        self.query('SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE')
        self.query('LISTEN crm_outbox')

    def disconnect(self):
        if self.db is not None:
            self.db.close()
            self.db = None

    def query(self, text, parameters=None):
        with self.db.cursor() as cursor:
            cursor.execute(text, parameters)
            return cursor.fetchall() if cursor.description else []

    def claim(self):
        self.query('BEGIN')
        try:
            rows = self.query("""SELECT message_id, token, address, content
                                   FROM crm.claim_messages(%s, worker => %s, max => %s, lease => make_interval(secs => %s))""",
                              (self.options.channel, self.options.worker, self.options.max, self.options.lease))
            if rows:
                self.journal.write('claimed', [row[:2] for row in rows], sync=True)
            self.query('COMMIT')
        except Exception:
            # Also when the journal cannot be written: no later COMMIT may commit such a claim
            self.disconnect()
            raise
        return rows

    def tell(self):
        """Tells the database what became of messages. What it could not be told stays for the next time."""
        for token in {token for _, token in self.acks}:
            keys = [key for key in self.acks if key[1] == token]
            told = self.query('SELECT crm.ack_messages(%s::bigint[], %s, %s::text[])',
                              ([message for message, _ in keys], token, [self.acks[key] for key in keys]))[0][0]
            if told < len(keys):
                logging.warning('%d of %d messages of claim %d could not be acknowledged: they were finished or queued again elsewhere',
                                len(keys) - told, len(keys), token)
            for key in keys:
                del self.acks[key]
            self.journal.write('done', keys)
        for key, (error, permanent) in list(self.nacks.items()):
            self.query('SELECT crm.nack_message(%s, %s, %s, permanent => %s)', (*key, error, permanent))
            del self.nacks[key]
            self.journal.write('done', [key])
        for token in {token for _, token in self.unbegun}:
            keys = [key for key in self.unbegun if key[1] == token]
            self.query('SELECT crm.release_messages(%s::bigint[], %s)', ([message for message, _ in keys], token))
            self.unbegun.difference_update(keys)
            self.journal.write('done', keys)

    def reconcile(self):
        """Finds out what became of messages whose lease has run out, ours or another sender's."""
        options = self.options
        if not self.evidence or clock() < self.next_look:
            return
        self.next_look = clock() + min(max(options.settle / 5, 0.5), 60)
        self.query('SELECT crm.expire_leases()')
        now = clock()
        self.unknown = {key: self.unknown.get(key, now)
                        for key in self.query('SELECT message_id, token FROM crm.unknown_messages(%s)', (options.channel,))}
        # A relay that was just given a letter may still be about to accept it
        settled = [key for key, since in self.unknown.items() if now - since >= options.settle]
        if not settled:
            return

        accepted = {key for key in settled if self.journal.state.get(key) == 'accepted'}
        if options.accepted_log:
            try:
                listed = self.listed({self.message_id(message) for message, _ in settled})
            except OSError as error:
                # Without the list nothing is known; an empty one would say that nothing was accepted
                logging.error('the list of accepted messages cannot be read: %s', error)
                return
            accepted |= {key for key in settled if self.message_id(key[0]) in listed}
            lost = set(settled) - accepted
        else:
            lost = {key for key in settled if self.journal.state.get(key) in ('claimed', 'refused')}
            for key in settled:
                if self.journal.state.get(key) == 'begun' and key not in self.doubtful:
                    self.doubtful.add(key)
                    logging.error('message %d: nobody here can tell whether the relay has accepted it; see README.md', key[0])
        # Of several senders that find out the same each is told how many he was the first to tell
        for token in {token for _, token in accepted}:
            keys = [key for key in accepted if key[1] == token]
            told = self.query('SELECT crm.ack_messages(%s::bigint[], %s)', ([message for message, _ in keys], token))[0][0]
            self.journal.write('done', keys)
            logging.info('reconciled: %d accepted', told)
        if lost:
            # By their tokens, so that one that another sender has queued and claimed meanwhile stays with him
            lost = list(lost)
            again = self.query("""SELECT crm.redrive_messages(ARRAY(
                                      SELECT u.message_id
                                        FROM crm.unknown_messages(%s) AS u
                                        JOIN unnest(%s::bigint[], %s::bigint[]) AS l(message_id, token) USING (message_id, token)))""",
                               (options.channel, [message for message, _ in lost], [token for _, token in lost]))[0][0]
            self.journal.write('done', lost)
            logging.info('reconciled: %d not accepted, queued again', again)

    def listed(self, wanted):
        """Which of some Message-IDs the relay has accepted."""
        found = set()
        for path in self.options.accepted_log:
            with open(path, encoding='utf-8', errors='replace') as file:
                for line in file:
                    found.update(wanted.intersection(MESSAGE_ID.findall(line)))
        return found

    # ---- letters ----

    def message_id(self, message):
        return f'<crm.{message}@{self.options.id_domain}>'

    def compose(self, message, address, content):
        if not ADDRESS.fullmatch(address):
            raise ValueError('not an address that is sent to as it is')
        utf8 = not address.isascii()
        name, _, domain = address.rpartition('@')
        policy = email.policy.SMTPUTF8 if utf8 else email.policy.SMTP.clone(cte_type='7bit')
        letter = email.message.EmailMessage(policy=policy)
        letter['From'] = self.options.sender
        letter['To'] = Address(username=name, domain=domain)
        letter['Subject'] = content.get('subject', '')
        letter['Date'] = email.utils.localtime()
        letter['Auto-Submitted'] = 'auto-generated'
        text, html = content.get('text'), content.get('html')
        if text is None and html is None:
            raise ValueError('the template has neither text nor html')
        if text is not None:
            letter.set_content(text)
        if html is not None and text is not None:
            letter.add_alternative(html, subtype='html')
        elif html is not None:
            letter.set_content(html, subtype='html')
        # Python would encode these where they are long, and nobody would know them again
        fields = f'Message-ID: {self.message_id(message)}\r\n'
        for part, field in EXTRA_HEADERS.items():
            if content.get(part):
                if not re.fullmatch('[ -~]{1,900}', content[part]):
                    raise ValueError(f'{part} is no line of ASCII')
                fields += f'{field}: {content[part]}\r\n'
        return fields.encode('ascii') + letter.as_bytes(), utf8

    def send(self, message, token, address, content):
        key = (message, token)
        try:
            letter, utf8 = self.compose(message, address, content)
            if utf8 and not self.relay.smtp.has_extn('smtputf8'):
                raise ValueError('the relay takes no addresses beyond ASCII')
        except Exception as error:      # whatever is wrong with one letter, the others go
            self.nacks[key] = (clean(error) or type(error).__name__, True)
            return
        what, words = self.relay.send(address, letter, utf8, lambda: self.journal.write('begun', [key], sync=True))
        # Replies like to name the address, and reasons are read by people who are not to see it
        words = re.sub(re.escape(address), 'the address', words, flags=re.IGNORECASE)
        if what == 'accepted':
            self.acks[key] = words
            self.journal.write('accepted', [key])
        elif what == 'doubtful':
            # Nobody is told: when the lease has run out it is unknown, and looked into
            logging.warning('message %d: the relay did not say whether it has accepted it: %s', message, words)
        else:
            self.nacks[key] = (words, what == 'refused')
            self.journal.write('refused', [key])

    def give_back(self, rows):
        """They are not begun: somebody else may send them, or we later."""
        self.unbegun.update((message, token) for message, token, *_ in rows)

    def send_batch(self):
        """Claims and sends. False if there was nothing to send."""
        # A relay that does not answer costs no message an attempt
        if self.failures > 0 or self.last_used == 0:
            self.relay.open()
            self.last_used = clock()
        begin = clock()
        rows = self.claim()
        if not rows:
            if clock() - self.last_used > 30:
                self.relay.close(politely=True)
            return False
        told = begin
        for n, row in enumerate(rows):
            try:
                self.relay.open()
            except (OSError, ValueError):
                self.give_back(rows[n:])
                self.tell()
                raise
            # Whatever is begun is over before the lease is
            if self.stopping or clock() + self.options.timeout > begin + self.options.lease:
                self.give_back(rows[n:])
                break
            self.send(*row)
            self.last_used = clock()
            if clock() - told > 1:
                self.tell()
                told = clock()
        self.tell()
        return True

    # ---- life ----

    def wait(self, seconds):
        """Until there may be something to do: the database hints at it, the time is over, or somebody stops us."""
        if self.stopping:
            return
        ends = [self.woken]
        if self.db is not None:
            self.db.poll()
            if self.db.notifies:
                self.db.notifies.clear()
                return
            ends.append(self.db)
        select.select(ends, [], [], seconds)

    def run(self):
        status = 0
        while not self.stopping:
            try:
                if self.db is None:
                    self.connect()
                self.tell()
                self.reconcile()
                busy = self.send_batch()
                self.failures = 0
                if not busy:
                    look = max(self.next_look - clock(), 0.1) if self.evidence else self.options.poll
                    self.wait(min(look, self.options.poll))
            except psycopg2.Error as error:
                logging.error('database: %s', clean(error))
                self.disconnect()
                self.back_off()
            except (OSError, ValueError) as error:
                logging.error('relay: %s', clean(error))
                self.relay.close()
                self.back_off()
            except JournalError as error:
                logging.error('the journal cannot be used: %s', clean(error))
                status = 1
                break
        self.relay.close(politely=True)
        try:
            if self.acks or self.nacks or self.unbegun:
                if self.db is None:
                    self.connect()
                self.tell()
        except (psycopg2.Error, JournalError) as error:
            # Then it is found out as after a kill
            logging.error('the end could not be told: %s', clean(error))
            status = 1
        self.disconnect()
        return status

    def back_off(self):
        self.failures += 1
        db, self.db = self.db, None     # its hints are of no use now
        self.wait(min(2 ** (self.failures - 1), 60))
        self.db = db


def host_and_port(value):
    host, _, port = value.rpartition(':')
    return (host.strip('[]'), int(port)) if host else (value, 25)


def arguments():
    parser = argparse.ArgumentParser(description='Sends the e-mail that crm_marketing has in its outbox.')
    parser.add_argument('--dsn', default='', help='the database, as libpq writes it; default: by the PG... variables')
    parser.add_argument('--smtp', type=host_and_port, default=('localhost', 25), metavar='HOST:PORT', help='the relay')
    parser.add_argument('--starttls', action='store_true', help='insist on TLS, with a certificate that is valid')
    parser.add_argument('--user', help='user at the relay; the password is in SMTP_PASSWORD')
    parser.add_argument('--helo', help='name of this host for the relay; default: its full name')
    parser.add_argument('--from', dest='sender', required=True, help='From: of the letters, as "Shop <news@shop.example>"')
    parser.add_argument('--return-path', help='where bounces go; default: the address of --from')
    parser.add_argument('--id-domain', help='right side of the Message-ID; must never change; default: domain of --from')
    parser.add_argument('--channel', default='email', help='channel; default: email')
    parser.add_argument('--worker', default=socket.gethostname(), help='name of this sender in crm.outbox; default: that of the host')
    parser.add_argument('--max', type=int, default=50, help='messages in a claim, 1 to 500; default: 50')
    parser.add_argument('--lease', type=float, default=300, help='seconds a claim may take; default: 300')
    parser.add_argument('--timeout', type=float, default=60, help='seconds a letter may take; default: 60')
    parser.add_argument('--poll', type=float, default=5, help='seconds between looks without a hint; default: 5')
    parser.add_argument('--settle', type=float, default=900,
                        help='seconds after a lease in which the relay may still accept; default: 900')
    parser.add_argument('--accepted-log', action='append', default=[], metavar='FILE',
                        help='has <Message-ID> of all that the relay accepted; may be given several times')
    parser.add_argument('--journal', metavar='FILE', help='this sender\'s own record of what it sent; no other may use it')
    options = parser.parse_args()
    address = email.utils.parseaddr(options.sender)[1]
    if '@' not in address:
        parser.error('--from has no address')
    if options.timeout <= 0 or options.lease < 2 * options.timeout or not 1 <= options.max <= 500:
        parser.error('a lease must be at least twice as long as a letter may take, and a claim be of 1 to 500')
    if options.user is not None and not options.starttls:
        parser.error('--user needs --starttls: no password goes over an open line')
    options.return_path = options.return_path or address
    options.id_domain = options.id_domain or address.rpartition('@')[2]
    return options


if __name__ == '__main__':
    logging.basicConfig(level=logging.INFO, format='%(asctime)s %(message)s')
    settings = arguments()
    try:
        sender = Sender(settings)
    except JournalError as problem:
        sys.exit(f'the journal cannot be used: {problem}')
    sys.exit(sender.run())
