"""A mail relay for sender.pl, with the manners of real ones. It goes by the recipient's name, up to the dot:

gone    is refused at RCPT, for good
spam    is refused after its content, for good
busy    is refused at RCPT once, for the time being
slow    is accepted, but the answer takes its time
late    is accepted late the first time, also when the client has gone meanwhile
long    likewise, when its lease is long over; a file of this name tells that it is there
drop    is accepted, but the first time the connection is closed instead of an answer
hang    is not accepted the first time, and the connection is closed
keep    is accepted, and its content stored

What it accepts it writes to a list, on disk before it answers: the Message-ID and the recipient. It drops no repeats.
usage: relay.py DIRECTORY; the files in there are port, accepted and the contents.
"""

import asyncio
import os
import re
import sys

from aiosmtpd.smtp import SMTP

directory = sys.argv[1]
accepted = os.open(os.path.join(directory, 'accepted'), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
met = set()


def first_time(recipient):
    if recipient in met:
        return False
    met.add(recipient)
    return True


def accept(message_id, recipient):
    os.write(accepted, f'{message_id} {recipient}\n'.encode())
    os.fsync(accepted)


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        name = address.partition('.')[0]
        if name == 'gone':
            return f'550 5.1.1 <{address}>: nobody of this name'
        if name == 'busy' and first_time(address):
            return '451 4.3.0 come again'
        envelope.rcpt_tos.append(address)
        return '250 2.1.5 Ok'

    async def handle_DATA(self, server, session, envelope):
        recipient, = envelope.rcpt_tos
        name = recipient.partition('.')[0]
        if name == 'spam':
            return '554 5.7.1 we do not like it'
        if name == 'hang' and first_time(recipient):
            server.transport.abort()
            return '451 nobody reads this'
        message_id = re.search(rb'^Message-ID: *(<[^>]*>)', envelope.content, re.M | re.I)[1].decode()
        delay = {'late': 0.4, 'long': 5}.get(name)
        if delay is None or not first_time(recipient):
            accept(message_id, recipient)
        else:
            # This coroutine ends when the client has gone; what is called later does not
            asyncio.get_running_loop().call_later(delay, accept, message_id, recipient)
            open(os.path.join(directory, name), 'w').close()
            await asyncio.sleep(delay + 0.1)
        if name == 'keep':
            with open(os.path.join(directory, recipient), 'wb') as file:
                file.write(envelope.content)
        if name == 'slow':
            await asyncio.sleep(0.6)
        if name == 'drop' and first_time(recipient):
            server.transport.abort()
        return '250 2.0.0 Ok: queued as ' + message_id[1:-1].partition('@')[0]


async def main():
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(Handler(), hostname='relay.example', enable_SMTPUTF8=True), '127.0.0.1', 0)
    with open(os.path.join(directory, 'port.new'), 'w') as file:
        file.write(str(server.sockets[0].getsockname()[1]))
    os.rename(os.path.join(directory, 'port.new'), os.path.join(directory, 'port'))
    await server.serve_forever()


asyncio.run(main())
