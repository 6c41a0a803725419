// The messages of a call as a picture (our own SVG), with the same as a table for whoever reads it by ear, the message behind each arrow,
// and what differs between two of them.
import { Button, Code, Group, Modal, Stack, Switch, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { Answered, Part, Plain, State } from './parts.tsx';

export interface LadderLane { side: string; address: string }
export interface LadderMessage {
  at: string; after_us: number; from: number; to: number; transport: string; method: string; status?: number | null; reason: string;
  cseq: number; sdp: boolean; repeats?: number | null; source: string; destination: string; text: string;
}
export interface LadderLike {
  id: string; sip_call_id: string; over: boolean; begun: boolean; missing: number; numbers_masked: boolean;
  lanes: LadderLane[]; messages: LadderMessage[];
}

/** The lanes from left to right: who calls, the platform, who is called. */
export function laneOrder(of: LadderLike): number[] {
  const rank = ['caller', 'us', 'called', 'unknown'];
  return of.lanes.map((_, i) => i).sort((a, b) => rank.indexOf(of.lanes[a]!.side) - rank.indexOf(of.lanes[b]!.side) || a - b);
}
function laneName(lane: LadderLane | undefined): string {
  if (!lane) return '?';
  return lane.side === 'us' ? 'WARP' : `${lane.side} ${lane.address}`;
}
/** What a message is, in a few words. */
export function arrowLabel(m: LadderMessage): string {
  const what = m.status ? `${m.status} ${m.reason}${m.method === 'INVITE' ? '' : ` (${m.method})`}` : m.method;
  return `${what}${m.sdp ? ' SDP' : ''}${m.repeats === null || m.repeats === undefined ? '' : ' again'}`;
}
/** Requests, provisional answers, successes, refusals, failures. */
function kindOf(m: LadderMessage): string {
  if (!m.status) return 'request';
  if (m.status < 200) return 'provisional';
  if (m.status < 300) return 'success';
  return m.status < 500 ? 'refusal' : 'failure';
}
function seconds(us: number): string {
  return `+${(us / 1_000_000).toFixed(3)} s`;
}

/** Lines of two texts: `-` only the first has, `+` only the second. */
export function lineDiff(a: string, b: string): [string, string][] {
  const [x, y] = [a.trimEnd().split(/\r?\n/), b.trimEnd().split(/\r?\n/)];
  const t = Array.from({ length: x.length + 1 }, () => new Array<number>(y.length + 1).fill(0));
  for (let i = x.length - 1; i >= 0; i -= 1) {
    for (let j = y.length - 1; j >= 0; j -= 1) t[i]![j] = x[i] === y[j] ? t[i + 1]![j + 1]! + 1 : Math.max(t[i + 1]![j]!, t[i]![j + 1]!);
  }
  const out: [string, string][] = [];
  let [i, j] = [0, 0];
  while (i < x.length || j < y.length) {
    if (i < x.length && j < y.length && x[i] === y[j]) {
      out.push([' ', x[i]!]);
      i += 1;
      j += 1;
    } else if (i < x.length && (j >= y.length || t[i + 1]![j]! >= t[i]![j + 1]!)) {
      out.push(['-', x[i]!]);
      i += 1;
    } else {
      out.push(['+', y[j]!]);
      j += 1;
    }
  }
  return out;
}

const [COLUMN, ROW, TOP, LEFT] = [230, 36, 44, 84];

/** The picture alone. */
function Picture({ of, open }: { of: LadderLike; open: (index: number) => void }) {
  const order = laneOrder(of);
  const x = (lane: number) => LEFT + order.indexOf(lane) * COLUMN + COLUMN / 2;
  const [width, height] = [LEFT + Math.max(order.length, 1) * COLUMN, TOP + (of.messages.length + 1) * ROW];
  return (
    <div className="w-scroll" tabIndex={0} role="region" aria-label="Ladder">
      <svg viewBox={`0 0 ${width} ${height}`} width={width} height={height} className="w-ladder" role="group" aria-label="Messages of the call">
        {order.map((lane) => (
          <g key={lane}>
            <line x1={x(lane)} x2={x(lane)} y1={TOP - 12} y2={height} className="w-lane" />
            <text x={x(lane)} y={20} textAnchor="middle">{laneName(of.lanes[lane])}</text>
          </g>
        ))}
        {of.messages.map((m, i) => {
          const y = TOP + i * ROW + ROW / 2 + 4;
          const [from, to] = [x(m.from), x(m.to)];
          const tip = to > from ? -7 : 7;
          return (
            <g key={i} className={`w-arrow w-${kindOf(m)}${m.repeats === null || m.repeats === undefined ? '' : ' w-again'}`} role="button" tabIndex={0}
              aria-label={`${seconds(m.after_us)} ${arrowLabel(m)}, message ${i + 1}, ${laneName(of.lanes[m.from])} to ${laneName(of.lanes[m.to])}`}
              onClick={() => open(i)} onKeyDown={(e) => { if (e.key === 'Enter' || e.key === ' ') { e.preventDefault(); open(i); } }}>
              <rect x={0} y={y - ROW / 2 - 4} width={width} height={ROW} className="w-hit" />
              <text x={4} y={y + 4} className="w-time">{seconds(m.after_us)}</text>{' '}
              <line x1={from} x2={to} y1={y} y2={y} />
              <path d={`M${to} ${y} l${tip} -4 v8 z`} />
              <text x={(from + to) / 2} y={y - 5} textAnchor="middle">{arrowLabel(m)}</text>
            </g>
          );
        })}
      </svg>
    </div>
  );
}

/** A ladder with its messages. */
export function LadderView({ of }: { of: LadderLike }) {
  const [shown, setShown] = useState<number | null>(null);
  const [against, setAgainst] = useState<number | null>(null);
  const [table, setTable] = useState(false);
  const message = shown === null ? undefined : of.messages[shown];
  const other = against === null ? undefined : of.messages[against];
  return (
    <Stack gap="sm">
      {!of.begun && <Text><State kind="warn">The beginning of the call is missing: there was no room for it.</State></Text>}
      {of.missing > 0 && <Text><State kind="warn">{of.missing} messages are missing: there was no room for them.</State></Text>}
      <Group justify="space-between">
        <Text size="sm">{of.messages.length} messages{of.numbers_masked ? '; the middle of numbers is masked' : ''}{of.over ? '' : '; the call is in the air'}</Text>
        <Switch label="As a table" checked={table} onChange={(e) => setTable(e.currentTarget.checked)} />
      </Group>
      {table ? (
        <Plain label="Messages" head={['No.', 'Time', 'From', 'To', 'Message', 'CSeq', 'By', '']}
          rows={of.messages.map((m, i) => [i + 1, seconds(m.after_us), laneName(of.lanes[m.from]), laneName(of.lanes[m.to]), arrowLabel(m), m.cseq, m.transport,
            <Button key="o" size="compact-sm" variant="default" onClick={() => setShown(i)}>Open<span className="w-hidden"> message {i + 1}</span></Button>])} />
      ) : <Picture of={of} open={setShown} />}
      <Modal opened={message !== undefined} onClose={() => { setShown(null); setAgainst(null); }} size="xl" title={message ? `Message ${shown! + 1}: ${arrowLabel(message)}` : ''}>
        {message && (
          <Stack gap="xs">
            <Text size="sm">{message.source} → {message.destination} by {message.transport}, {message.at}</Text>
            {other ? (
              <Code block tabIndex={0} className="w-raw">{lineDiff(other.text, message.text).map(([sign, line]) => `${sign} ${line}`).join('\n')}</Code>
            ) : <Code block tabIndex={0} className="w-raw">{message.text}</Code>}
            <Group gap="xs">
              <Button variant="default" disabled={shown === 0} onClick={() => setAgainst(against === null ? shown! - 1 : null)}>
                {against === null ? 'What differs from the one before?' : 'The whole message'}
              </Button>
              <Button variant="default" disabled={shown === 0} onClick={() => { setShown(shown! - 1); setAgainst(null); }}>Before</Button>
              <Button variant="default" disabled={shown === of.messages.length - 1} onClick={() => { setShown(shown! + 1); setAgainst(null); }}>Next</Button>
            </Group>
          </Stack>
        )}
      </Modal>
    </Stack>
  );
}

/** The part of a call's page: drawn when somebody wants it, because all nodes are asked. */
export function LadderPart({ id, ask }: { id: string; ask: () => Promise<{ data: unknown }> }) {
  const [wanted, setWanted] = useState(false);
  const ladder = useQuery({ queryKey: ['ladder', id], queryFn: ask, enabled: wanted, retry: false });
  return (
    <Part title="Messages">
      {wanted ? <Answered query={ladder}>{({ data }) => <LadderView of={data as LadderLike} />}</Answered>
        : <Button variant="default" onClick={() => setWanted(true)}>Draw the messages</Button>}
    </Part>
  );
}
