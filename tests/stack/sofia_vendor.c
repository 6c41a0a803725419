/* A vendor on libsofia-sip-ua, the stack of FreeSWITCH: a peer that is as strict as its standard. It challenges INVITE and
 * re-INVITE by digest (RFC 7616), answers a request that repeats a CSeq on another branch with 482 (its NUA switches that on), and says
 * on stdout what came. Built by tests/sofia.rs.
 *
 * Usage: sofia_vendor IP PORT USER PASSWORD RTP_PORT [SECOND_PORT]. It ends when its stdin is closed. With a second port it is one platform
 * with two addresses, without room at first: it answers each first INVITE of a call with 503, at whichever port it comes.
 * Lines: "ready", then "INVITE 1 challenged", "INVITE 2 ok", "ACK 2", "BYE 5", "refused 482" and the like. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sofia-sip/auth_digest.h>
#include <sofia-sip/nua.h>
#include <sofia-sip/nua_tag.h>
#include <sofia-sip/nta_tag.h>
#include <sofia-sip/sip_status.h>
#include <sofia-sip/sip_tag.h>
#include <sofia-sip/su_wait.h>

static struct {
    su_home_t home[1];
    su_root_t *root;
    nua_t *nua;
    const char *user, *password, *ip;
    int rtp;
    unsigned nonce;
    char last_nonce[32];
    int two;
    char refused[128];
} vendor;

static char sdp[512];

static void say(const char *method, sip_t const *sip, const char *what)
{
    printf("%s %u %s\n", method, sip && sip->sip_cseq ? sip->sip_cseq->cs_seq : 0, what);
    fflush(stdout);
}

/* Whether the credentials are right for this request and for the nonce that we gave last. */
static int is_right(sip_t const *sip, const char *method)
{
    auth_response_t ar[1];
    auth_hexmd5_t a1, wanted;
    sip_proxy_authorization_t const *c = sip->sip_proxy_authorization;
    memset(ar, 0, sizeof ar);
    ar->ar_size = sizeof ar;
    if (!c || auth_digest_response_get(vendor.home, ar, c->au_params) < 0)
        return 0;
    if (!ar->ar_username || !ar->ar_nonce || !ar->ar_response || strcmp(ar->ar_username, vendor.user))
        return 0;
    if (strcmp(ar->ar_nonce, vendor.last_nonce))
        return 0;
    auth_digest_a1(ar, a1, vendor.password);
    auth_digest_response(ar, wanted, a1, method, NULL, 0);
    return strcmp(wanted, ar->ar_response) == 0;
}

/* Answers 407 with a fresh nonce unless the credentials are right. Every request needs its own: a nonce is good once. */
static int admitted(nua_handle_t *nh, sip_t const *sip, const char *method)
{
    char challenge[160];
    if (is_right(sip, method)) {
        say(method, sip, "ok");
        vendor.last_nonce[0] = 0;
        return 1;
    }
    say(method, sip, "challenged");
    snprintf(vendor.last_nonce, sizeof vendor.last_nonce, "n%08x", ++vendor.nonce * 2654435761u);
    snprintf(challenge, sizeof challenge, "Digest realm=\"vendor\", nonce=\"%s\", algorithm=MD5, qop=\"auth\"",
             vendor.last_nonce);
    nua_respond(nh, SIP_407_PROXY_AUTH_REQUIRED, NUTAG_WITH_THIS(vendor.nua),
                SIPTAG_PROXY_AUTHENTICATE_STR(challenge), TAG_END());
    return 0;
}

static void on_event(nua_event_t event, int status, char const *phrase, nua_t *nua, nua_magic_t *magic,
                     nua_handle_t *nh, nua_hmagic_t *hmagic, sip_t const *sip, tagi_t tags[])
{
    (void)phrase, (void)nua, (void)magic, (void)hmagic, (void)tags;
    switch (event) {
    case nua_i_invite:
        /* The stack has refused it already: 482 for a request that was merged, 400 for one that is broken. */
        if (status >= 200) {
            printf("refused %d\n", status);
            fflush(stdout);
        } else if (vendor.two && !(sip->sip_to && sip->sip_to->a_tag) && strcmp(vendor.refused, sip->sip_call_id->i_id)) {
            snprintf(vendor.refused, sizeof vendor.refused, "%s", sip->sip_call_id->i_id);
            say("INVITE", sip, "full");
            nua_respond(nh, SIP_503_SERVICE_UNAVAILABLE, NUTAG_WITH_THIS(vendor.nua), TAG_END());
        } else if (admitted(nh, sip, "INVITE"))
            nua_respond(nh, SIP_200_OK, NUTAG_WITH_THIS(vendor.nua), SIPTAG_CONTENT_TYPE_STR("application/sdp"),
                        SIPTAG_PAYLOAD_STR(sdp), TAG_END());
        break;
    case nua_i_ack:
        say("ACK", sip, "");
        break;
    case nua_i_bye:
        /* The stack answers it. It would end its dialog with a 407 as well, so that no BYE with credentials could follow. */
        say("BYE", sip, "");
        break;
    case nua_i_cancel:
        say("CANCEL", sip, "");
        break;
    case nua_r_shutdown:
        if (status >= 200)
            su_root_break(vendor.root);
        break;
    default:
        break;
    }
}

static int on_stdin(su_root_magic_t *magic, su_wait_t *w, su_wakeup_arg_t *arg)
{
    (void)magic, (void)w, (void)arg;
    char byte;
    if (fread(&byte, 1, 1, stdin) == 0)
        su_root_break(vendor.root);
    return 0;
}

int main(int argc, char **argv)
{
    char url[64], second[64] = "";
    su_wait_t stdin_wait[1];
    if (argc != 6 && argc != 7)
        return 2;
    vendor.ip = argv[1], vendor.user = argv[3], vendor.password = argv[4], vendor.rtp = atoi(argv[5]);
    snprintf(url, sizeof url, "sip:%s:%s;transport=udp", argv[1], argv[2]);
    if (argc == 7) {
        snprintf(second, sizeof second, "sip:%s:%s;transport=udp", argv[1], argv[6]);
        vendor.two = 1;
    }
    snprintf(sdp, sizeof sdp,
             "v=0\r\no=- 1 1 IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\nm=audio %d RTP/AVP 0\r\n"
             "a=rtpmap:0 PCMU/8000\r\n", vendor.ip, vendor.ip, vendor.rtp);
    su_init();
    su_home_init(vendor.home);
    vendor.root = su_root_create(NULL);
    vendor.nua = nua_create(vendor.root, on_event, NULL, NUTAG_URL(url),
                            /* The stack's only way to listen twice; it need not be SIPS. */
                            TAG_IF(vendor.two, NUTAG_SIPS_URL(second)), NUTAG_MEDIA_ENABLE(0), NUTAG_AUTOALERT(0),
                            NUTAG_AUTOANSWER(0), NUTAG_APPL_METHOD("INVITE"),
                            NTATAG_MERGE_482(1), TAG_END());
    if (!vendor.nua) {
        fprintf(stderr, "cannot listen on %s\n", url);
        return 1;
    }
    su_wait_create(stdin_wait, 0, SU_WAIT_IN);
    su_root_register(vendor.root, stdin_wait, on_stdin, NULL, 0);
    puts("ready");
    fflush(stdout);
    su_root_run(vendor.root);
    /* The process ends here: the kernel takes its sockets, and nobody waits for the stack's own farewell. */
    return 0;
}
