"""aiosmpplib as a customer: short, Greek and long texts, and the receipts of all of them. Run by smsc/tests/peers.rs: aio.py HOST:PORT"""
import asyncio
import sys

from aiosmpplib import ESME, NPI, TON, AbstractHook, DeliverSm, PhoneNumber, SubmitSm, SubmitSmResp

TEXTS = ["from aiosmpplib", "Ελληνικά – 漢字", "long " * 80]


class Hook(AbstractHook):
    def __init__(self):
        self.sent, self.receipts, self.done = set(), {}, asyncio.Event()

    async def sending(self, smpp_message, pdu, client_id):
        pass

    async def received(self, smpp_message, pdu, client_id):
        if isinstance(smpp_message, SubmitSmResp):
            assert smpp_message.command_status.value == 0, smpp_message
            self.sent.add(smpp_message.message_id)
        if isinstance(smpp_message, DeliverSm) and smpp_message.is_receipt():
            receipt = smpp_message.parse_receipt()
            self.receipts[receipt["id"]] = str(receipt["stat"])
        if len(self.sent) == len(TEXTS) and set(self.receipts) == self.sent:
            self.done.set()

    async def send_error(self, smpp_message, error, client_id):
        print("error", smpp_message, error, file=sys.stderr)


async def main():
    host, port = sys.argv[1].rsplit(":", 1)
    hook = Hook()
    esme = ESME(host, int(port), "foo", "bar", hook=hook, log_level="WARNING")
    for text in TEXTS:
        await esme.broker.enqueue(
            SubmitSm(
                short_message=text,
                source=PhoneNumber("WARP", TON.ALPHANUMERIC, NPI.UNKNOWN),
                destination=PhoneNumber("491701234567", TON.INTERNATIONAL, NPI.ISDN),
            )
        )
    running = asyncio.create_task(esme.start())
    await asyncio.wait_for(hook.done.wait(), 30)
    await esme.stop()
    running.cancel()
    assert all("DELIVRD" in stat for stat in hook.receipts.values()), hook.receipts
    print("ok", len(hook.receipts))


asyncio.run(main())
