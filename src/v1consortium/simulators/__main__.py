"""Runs all simulators: ``python -m v1consortium.simulators [--ports-file FILE]``."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from v1consortium.simulators import quest, stripe, supabase, twilio
from v1consortium.simulators.quest import QuestSimulator
from v1consortium.simulators.serving import HttpServer, listen
from v1consortium.simulators.smtp import SmtpSimulator
from v1consortium.simulators.store import Journal
from v1consortium.simulators.stripe import StripeSimulator
from v1consortium.simulators.supabase import SupabaseSimulator
from v1consortium.simulators.twilio import TwilioSimulator


async def serve(host: str, ports_file: Path | None, journal: Journal) -> None:
    """Serve until SIGTERM or SIGINT; addresses are told once everything listens."""
    smtp = SmtpSimulator(journal)
    apps = {
        "supabase": SupabaseSimulator(journal).app(),
        "stripe": StripeSimulator(journal).app(),
        "quest": QuestSimulator(journal).app(),
        "twilio": TwilioSimulator(journal).app(),
        "smtp": smtp.app(),
    }
    sockets = {name: listen(host) for name in apps}
    mail_socket = listen(host)
    servers = [HttpServer(app, sockets[name]) for name, app in apps.items()]
    for server in servers:
        server.start()
    await smtp.start(mail_socket)
    urls = {name: f"http://{host}:{sock.getsockname()[1]}" for name, sock in sockets.items()}
    told = json.dumps(
        {"urls": urls, "env": _environment(urls, host, mail_socket.getsockname()[1])}, indent=2
    )
    if ports_file is not None:
        # Written beside and renamed: a reader sees all of it or nothing.
        draft = ports_file.with_name(f"{ports_file.name}.{os.getpid()}")
        draft.write_text(told, encoding="utf-8")
        draft.replace(ports_file)
    sys.stdout.write(told + "\n")
    sys.stdout.flush()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await smtp.stop()
    await asyncio.gather(*(server.stop() for server in servers))


def _environment(urls: dict[str, str], host: str, mail_port: int) -> dict[str, str]:
    """The application's settings that lead it to the simulators."""
    return {
        "SUPABASE_URL": urls["supabase"],
        "SUPABASE_SERVICE_ROLE_KEY": supabase.sign_key("service_role"),
        "STRIPE_API_KEY": stripe.API_KEY,
        "STRIPE_API_BASE": urls["stripe"],
        "STRIPE_PRICE_STANDARD": "price_simulated_standard",
        "QUEST_URL": urls["quest"],
        "QUEST_USERNAME": quest.USERNAME,
        "QUEST_PASSWORD": quest.PASSWORD,
        "QUEST_LAB_ACCOUNT": quest.LAB_ACCOUNT,
        "SMTP_HOST": host,
        "SMTP_PORT": str(mail_port),
        "SMTP_STARTTLS": "false",
        "EMAIL_FROM": "V1 Consortium <no-reply@v1consortium.example>",
        "TWILIO_ACCOUNT_SID": twilio.ACCOUNT_SID,
        "TWILIO_AUTH_TOKEN": twilio.AUTH_TOKEN,
        "TWILIO_FROM": "+15005550006",
        "TWILIO_API_BASE": urls["twilio"],
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m v1consortium.simulators", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--ports-file", type=Path, help="where to write the addresses, as JSON")
    parser.add_argument("--journal", type=Path, help="keep what was accepted in this file")
    options = parser.parse_args()
    journal = Journal(options.journal)
    try:
        asyncio.run(serve(options.host, options.ports_file, journal))
    finally:
        journal.close()


if __name__ == "__main__":
    main()
