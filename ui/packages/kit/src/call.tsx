// One call for people: one sentence why, the decision, the tries, the media, the price with its sum. What only operators may know comes
// from them as functions: nothing of it stands here.
import { Code, Stack, Text } from '@mantine/core';
import type { ReactNode } from 'react';
import { duration, money, number, words, type Money } from './format.ts';
import { Copied, Fields, Page, Part, Plain, State, When } from './parts.tsx';

/** A call as both portals have it. */
export interface CallLike {
  id: string;
  caller: string;
  called: string;
  caller_e164?: string | null;
  called_e164?: string | null;
  direction: string;
  outcome: string;
  sip_code: number;
  q850?: number | null;
  internal_code: string;
  release_side: string;
  duration_ms: number;
  billable_s?: number | null;
  pdd_ms?: number | null;
  route_rank?: number | null;
  recovered: boolean;
  setup_at: string;
  answer_at?: string | null;
  end_at: string;
  trunk_id?: string | null;
  jurisdiction?: string | null;
  price?: Money | null;
  rating_status: string;
  snapshot_id: string;
}
export interface LegLike {
  attempt_no: number;
  sip_code: number;
  q850?: number | null;
  pdd_ms?: number | null;
  start_at: number;
  end_at: number;
  ended_by: string;
  trunk_id?: string | null;
}
export interface StreamLike { packets: number; bytes: number; lost: number; jitter_us: number; mos_x100?: number | null }
export interface PriceLike { currency: string; deck_version: string; prefix: string; rate_per_min: string; increment_initial_s: number; increment_next_s: number; sum: string }
export interface DecisionLike<C = CandidateLike, E = ExcludedLike> {
  refusal?: string | null;
  jurisdiction?: string | null;
  jurisdiction_rule?: string | null;
  orig_state?: string | null;
  term_state?: string | null;
  class?: string | null;
  max_duration_s: number;
  routed?: string | null;
  number?: string | null;
  snapshot_id: string;
  summary?: string;
  sell?: PriceLike | null;
  candidates?: C[];
  excluded?: E[];
  targets?: { rank: number; trunk: string; trunk_name: string }[];
  unusable?: string[];
}
export interface CandidateLike { rank: number; jurisdiction?: string | null }
export interface ExcludedLike { reason: string }
export interface RecordLike {
  sip_call_id: string;
  ingress_ip: string;
  ingress_user?: string | null;
  node: string;
  legs: LegLike[];
  media?: { to_callee: StreamLike; to_caller: StreamLike } | null;
  rating?: { sell?: PriceLike & { charge: string; billable_s: number } | null } | null;
  decision?: DecisionLike | null;
}

/** Why a call is refused, as people say it (the closed list of the policy). */
const REFUSED: Record<string, string> = {
  invalid_number: 'what was dialled is no number by the dial rules of the trunk',
  incomplete_number: 'the number has too few digits',
  unassigned_number: 'nobody has been assigned such a number',
  service_code: 'it is a service code, which is not carried',
  no_emergency_route: 'no emergency route is configured',
  trunk_disabled: 'the trunk or its customer is switched off',
  destination_blocked: 'the trunk may not call this class of destinations',
  call_blocked: 'calls from or to such numbers are blocked',
  max_rate: 'the price is above the highest that the trunk or the customer allows',
  invalid_caller: 'the caller is no valid number, and the trunk must give one',
  no_route: 'there is no route to this destination',
  no_route_available: 'each route to this destination is down, full or excluded',
  no_route_at_margin: 'no route to this destination can be used at this price',
  rating_failed: 'there is no price for this destination',
  trunk_channels: 'all channels of the trunk were in use',
  customer_channels: 'all channels of the customer were in use',
  trunk_cps: 'the calls per second of the trunk were used up',
  customer_cps: 'the calls per second of the customer were used up',
  daily_spend: 'it would have passed the day’s spend limit',
  number_not_here: 'nobody here has this number',
  no_destination: 'the number has no destination that takes calls',
  targets_exhausted: 'no target of the number took the call',
  no_credit: 'the billing account has no money for it',
  operator: 'the carrier’s staff hung up',
  customer: 'you hung up from the console or the API',
  no_ack: 'nobody acknowledged the answer',
  cancelled: 'its caller had given up when it was answered',
};
export function refusal(code: string): string {
  return REFUSED[code] ?? words(code);
}

/** Why a decision refused; of one that had no price whose it is, without a word of from whom the carrier buys. */
function refusedFor(of: DecisionLike): string {
  if (of.refusal !== 'rating_failed') return refusal(of.refusal ?? '');
  return of.sell ? 'the carrier has no price for its own side of this call' : 'the customer’s price list has no price for this call';
}

/** What a status says of a try that was left. */
function left(leg: LegLike): string {
  if (leg.sip_code === 408) return 'did not answer in time';
  if (leg.sip_code >= 300) return `refused with ${leg.sip_code}${leg.q850 ? ` (Q.850 ${leg.q850})` : ''}`;
  return 'ended without an answer';
}

/** What happened and why, in one sentence or two. */
export function why(call: CallLike, legs: LegLike[] = []): string {
  const side = call.release_side === 'caller' ? 'the caller' : call.release_side === 'callee' ? 'the called party' : 'WARP';
  const tried = legs.filter((l) => l.ended_by === 'failover');
  const before = tried.length === 0 ? '' : ` Before, ${tried.map((l) => `route ${l.attempt_no} ${left(l)}`).join(', ')}.`;
  const delay = call.pdd_ms === null || call.pdd_ms === undefined ? '' : ` after ${duration(call.pdd_ms)} of ringing delay`;
  const route = tried.length > 0 && call.route_rank ? ` Route ${call.route_rank} carried it.` : '';
  switch (call.outcome) {
    case 'answered': {
      const end = call.internal_code ? `WARP ended it: ${refusal(call.internal_code)}.` : `${side[0]!.toUpperCase()}${side.slice(1)} ended it.`;
      const crash = call.recovered ? ' Its end was reconstructed after a crash.' : '';
      return `Answered${delay}, and lasted ${duration(call.duration_ms)}. ${end}${route}${before}${crash}`;
    }
    case 'busy':
      return `The called party was busy (${call.sip_code}).${before}`;
    case 'no_answer':
      return `It rang and nobody answered (${call.sip_code}).${before}`;
    case 'cancelled':
      return `The caller hung up before anybody answered.${before}`;
    case 'rejected':
      return call.internal_code ? `Refused by WARP (${call.sip_code}): ${refusal(call.internal_code)}.${before}` : `Refused with ${call.sip_code} by the other side.${before}`;
    default:
      return call.internal_code ? `Failed (${call.sip_code}): ${refusal(call.internal_code)}.${before}` : `Failed with ${call.sip_code}: no route took it.${before}`;
  }
}

export function Outcome({ call }: { call: Pick<CallLike, 'outcome' | 'sip_code'> }) {
  const kind = call.outcome === 'answered' ? 'good' : call.outcome === 'failed' || call.outcome === 'rejected' ? 'bad' : 'warn';
  return <State kind={kind}>{words(call.outcome)} {call.sip_code || ''}</State>;
}

/** A decision: price, ways in order, what was left out and why. */
export function Decision<D extends DecisionLike>({ of, candidateHead = [], candidate, excludedHead = [], excluded }: {
  of: D;
  candidateHead?: string[]; candidate?: (c: NonNullable<D['candidates']>[number]) => ReactNode[];
  excludedHead?: string[]; excluded?: (e: NonNullable<D['excluded']>[number]) => ReactNode[];
}) {
  const out = (of.excluded ?? []).filter((e) => e.reason !== 'tries');
  return (
    <Stack gap="sm">
      <Text className="w-why">
        {of.refusal ? <State kind="bad">Refused: {refusedFor(of)}.</State>
          : (of.summary ?? `${of.candidates?.length ? `${of.candidates.length} routes, in this order` : `${of.targets?.length ?? 0} targets, in this order`}; ${out.length} left out.`)}
      </Text>
      <Fields of={[
        ['Price', of.sell ? `${of.sell.rate_per_min} ${of.sell.currency} a minute, ${of.sell.increment_initial_s}/${of.sell.increment_next_s} s` : undefined],
        ['Deck', of.sell ? <><Code>{of.sell.deck_version}</Code> code <Code>{of.sell.prefix}</Code></> : undefined],
        ['Sum for the expected call', of.sell ? of.sell.sum : undefined],
        ['Jurisdiction', of.jurisdiction ? `${of.jurisdiction} (${of.orig_state ?? '?'} → ${of.term_state ?? '?'})${of.jurisdiction_rule ? `, ${words(of.jurisdiction_rule)}` : ''}` : undefined],
        ['Class', of.class ? words(of.class) : undefined],
        ['Routed as', of.routed && of.routed !== of.number ? number(of.routed) : undefined],
        ['Longest call', duration(of.max_duration_s * 1_000)],
      ]} />
      {of.candidates && of.candidates.length > 0 && (
        <Plain label="Routes in order" head={['Route', 'Jurisdiction', ...candidateHead]}
          rows={of.candidates.map((c) => [c.rank, c.jurisdiction ?? of.jurisdiction ?? '–', ...(candidate?.(c as never) ?? [])])} />
      )}
      {of.targets && of.targets.length > 0 && <Plain label="Targets in order" head={['Rank', 'Trunk']} rows={of.targets.map((t) => [t.rank, t.trunk_name])} />}
      {out.length > 0 && (
        <Plain label="Left out" head={['Left out because', ...excludedHead]} rows={out.map((e) => [EXCLUDED[e.reason] ?? words(e.reason), ...(excluded?.(e as never) ?? [])])} />
      )}
    </Stack>
  );
}
const EXCLUDED: Record<string, string> = {
  no_rate: 'no price for this number', blocked: 'blocked for this destination', currency: 'priced in another currency', margin: 'not usable at this price',
  no_trunk: 'no connection', down: 'down', channels: 'all channels in use', cps: 'calls per second used up', ramp_up: 'coming back, takes a share only', tries: 'tried enough',
};

function Media({ of }: { of: NonNullable<RecordLike['media']> }) {
  const rows = ([['to the called party', of.to_callee], ['to the caller', of.to_caller]] as const).map(([way, s]) => [
    way, s.packets, `${s.lost}${s.packets + s.lost > 0 ? ` (${((100 * s.lost) / (s.packets + s.lost)).toFixed(2)} %)` : ''}`,
    `${(s.jitter_us / 1_000).toFixed(1)} ms`, s.mos_x100 ? (s.mos_x100 / 100).toFixed(2) : '–',
  ]);
  const [there, back] = [of.to_callee.packets, of.to_caller.packets];
  return (
    <>
      {(there === 0) !== (back === 0) && <Text mb="xs"><State kind="bad">One-way audio: nothing came {there === 0 ? 'from the caller' : 'from the called party'}.</State></Text>}
      <Plain label="Media" head={['Direction', 'Packets', 'Lost', 'Jitter', 'MOS']} rows={rows} />
    </>
  );
}

/** The page of a call. */
export function CallView({ call, record, legHead = [], leg, decision, extra, actions, ladder }: {
  call: CallLike; record: RecordLike | null | undefined;
  legHead?: string[]; leg?: (l: never) => ReactNode[];
  decision?: ReactNode; extra?: ReactNode; actions?: ReactNode; ladder?: ReactNode;
}) {
  const start = record?.legs[0]?.start_at ?? 0;
  const sell = record?.rating?.sell;
  return (
    <Page title={`${number(call.caller_e164 ?? call.caller)} → ${number(call.called_e164 ?? call.called)}`} actions={actions}>
      <Part title="What happened"><Text className="w-why" data-why>{why(call, record?.legs)}</Text></Part>
      <Part title="Facts">
        <Fields of={[
          ['Call', <Copied key="i" text={call.id} />],
          ['Outcome', <Outcome key="o" call={call} />],
          ['Direction', call.direction],
          ['Caller', <Copied key="a" text={call.caller_e164 ?? call.caller} shown={number(call.caller_e164 ?? call.caller)} />],
          ['Called', <Copied key="b" text={call.called_e164 ?? call.called} shown={number(call.called_e164 ?? call.called)} />],
          ['Set up', <When key="s" at={call.setup_at} />],
          ['Answered', <When key="w" at={call.answer_at} />],
          ['Ended', <When key="e" at={call.end_at} />],
          ['Duration', <span key="d" title={`${call.duration_ms} ms`}>{duration(call.duration_ms)}</span>],
          ['Q.850', call.q850 ?? '–'],
          ['SIP Call-ID', record ? <Copied key="c" text={record.sip_call_id} /> : undefined],
          ['From address', record ? record.ingress_ip : undefined],
          ['Snapshot', <Code key="p">{call.snapshot_id}</Code>],
        ]} />
      </Part>
      <Part title="Price">
        <Fields of={[
          ['Price', money(call.price)],
          ['Billable', call.billable_s === null || call.billable_s === undefined ? '–' : `${call.billable_s} s`],
          ['Sum', sell ? sell.sum : 'not priced'],
          ['Deck', sell ? <><Code>{sell.deck_version}</Code> code <Code>{sell.prefix}</Code></> : undefined],
          ['Rated again', words(call.rating_status)],
        ]} />
        {extra}
      </Part>
      {record && (
        <Part title="Tries">
          {record.legs.length === 0 ? <Text>It was not sent on.</Text> : (
            <Plain label="Tries" head={['Try', 'Began', 'Ended', 'Status', 'Q.850', 'Delay', 'Why it ended', ...legHead]}
              rows={record.legs.map((l) => [
                l.attempt_no, `+${Math.round((l.start_at - start) / 1_000)} ms`, `+${Math.round((l.end_at - start) / 1_000)} ms`, l.sip_code, l.q850 ?? '–',
                duration(l.pdd_ms), words(l.ended_by), ...(leg?.(l as never) ?? []),
              ])} />
          )}
        </Part>
      )}
      {ladder}
      {record?.media && <Part title="Media"><Media of={record.media} /></Part>}
      {record?.decision && <Part title="Route decision">{decision ?? <Decision of={record.decision} />}</Part>}
    </Page>
  );
}
