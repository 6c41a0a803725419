// jsmpp as a customer: a message, one for three destinations, a query, and the receipts of all of them. Run by smsc/tests/peers.rs:
// java -cp 'target/peers/jsmpp/*' Jsmpp.java HOST PORT

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.jsmpp.bean.*;
import org.jsmpp.extra.ProcessRequestException;
import org.jsmpp.session.*;
import org.jsmpp.util.DeliveryReceiptState;

public class Jsmpp {
    static final TypeOfNumber INTERNATIONAL = TypeOfNumber.INTERNATIONAL;
    static final NumberingPlanIndicator ISDN = NumberingPlanIndicator.ISDN;

    public static void main(String[] args) throws Exception {
        List<String> heard = new ArrayList<>();
        CountDownLatch receipts = new CountDownLatch(4);
        SMPPSession session = new SMPPSession();
        session.setMessageReceiverListener(new MessageReceiverListener() {
            public void onAcceptDeliverSm(DeliverSm deliver) throws ProcessRequestException {
                try {
                    DeliveryReceipt receipt = deliver.getShortMessageAsDeliveryReceipt();
                    if (receipt.getFinalStatus() != DeliveryReceiptState.DELIVRD) {
                        throw new IllegalStateException(receipt.toString());
                    }
                    synchronized (heard) {
                        heard.add(receipt.getId() + " " + deliver.getSourceAddr());
                    }
                    receipts.countDown();
                } catch (Exception wrong) {
                    wrong.printStackTrace();
                    System.exit(1);
                }
            }

            public void onAcceptAlertNotification(AlertNotification notification) {}

            public DataSmResult onAcceptDataSm(DataSm data, Session source) throws ProcessRequestException {
                throw new ProcessRequestException("no data_sm is expected", 8);
            }
        });
        session.connectAndBind(args[0], Integer.parseInt(args[1]),
            new BindParameter(BindType.BIND_TRX, "foo", "bar", "", TypeOfNumber.UNKNOWN, NumberingPlanIndicator.UNKNOWN, null));
        RegisteredDelivery wanted = new RegisteredDelivery(SMSCDeliveryReceipt.SUCCESS_FAILURE);
        String one = session.submitShortMessage("", TypeOfNumber.ALPHANUMERIC, NumberingPlanIndicator.UNKNOWN, "WARP",
            INTERNATIONAL, ISDN, "491701234567", new ESMClass(), (byte) 0, (byte) 1, null, null, wanted, (byte) 0,
            new GeneralDataCoding(Alphabet.ALPHA_DEFAULT), (byte) 0, "from jsmpp".getBytes()).getMessageId();
        Address[] to = {
            new Address(INTERNATIONAL, ISDN, "491700000001"),
            new Address(INTERNATIONAL, ISDN, "no number"),
            new Address(INTERNATIONAL, ISDN, "491700000002"),
            new Address(INTERNATIONAL, ISDN, "491700000003"),
        };
        SubmitMultiResult many = session.submitMultiple("", TypeOfNumber.ALPHANUMERIC, NumberingPlanIndicator.UNKNOWN, "WARP",
            to, new ESMClass(), (byte) 0, (byte) 1, null, null, wanted, ReplaceIfPresentFlag.DEFAULT,
            new GeneralDataCoding(Alphabet.ALPHA_DEFAULT), (byte) 0, "to three from jsmpp".getBytes());
        UnsuccessDelivery[] refused = many.getUnsuccessDeliveries();
        if (refused.length != 1 || refused[0].getErrorStatusCode() != 0x0B) {
            throw new IllegalStateException(refused.length + " refused");
        }
        if (!receipts.await(30, TimeUnit.SECONDS)) {
            throw new IllegalStateException("receipts: " + heard);
        }
        List<String> expected = new ArrayList<>(List.of(one + " 491701234567"));
        for (int n = 1; n <= 3; n++) {
            expected.add(many.getMessageId() + " 49170000000" + n);
        }
        synchronized (heard) {
            heard.sort(null);
            expected.sort(null);
            if (!heard.equals(expected)) {
                throw new IllegalStateException(heard + " instead of " + expected);
            }
        }
        session.unbindAndClose();
        System.out.println("ok");
    }
}
