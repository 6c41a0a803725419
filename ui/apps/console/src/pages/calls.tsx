// Calls: the list, and the page of one.
import { AsCurl, Answered, CallView, duration, Go, LadderPart, LadderView, List, LiveCalls, money, number, Outcome, Page, When, type Column, type Filter, type LadderLike } from '@warp/kit';
import { useQuery } from '@tanstack/react-query';
import { useParams } from '@tanstack/react-router';
import { Text } from '@mantine/core';
import { api, type Of } from '../api.ts';

type Call = Of<'ListedCall'>;
const columns: Column<Call>[] = [
  { head: 'Set up', cell: (c) => <When at={c.setup_at} />, text: (c) => c.setup_at, width: 'minmax(175px, 1fr)', narrow: true },
  { head: 'Direction', cell: (c) => c.direction, text: (c) => c.direction, width: '100px' },
  { head: 'Caller', cell: (c) => number(c.caller_e164 ?? c.caller), text: (c) => c.caller_e164 ?? c.caller, width: 'minmax(150px, 1fr)' },
  { head: 'Called', cell: (c) => number(c.called_e164 ?? c.called), text: (c) => c.called_e164 ?? c.called, width: 'minmax(150px, 1fr)', narrow: true },
  { head: 'Outcome', cell: (c) => <Outcome call={c} />, text: (c) => `${c.outcome} ${c.sip_code}`, width: 'minmax(165px, 1fr)' },
  { head: 'Duration', cell: (c) => duration(c.duration_ms), text: (c) => String(c.duration_ms), width: '100px', right: true },
  { head: 'Delay', cell: (c) => duration(c.pdd_ms), text: (c) => String(c.pdd_ms ?? ''), width: '90px', right: true },
  { head: 'Price', cell: (c) => money(c.price), text: (c) => c.price?.amount ?? '', width: 'minmax(110px, 1fr)', right: true },
];
const filters: Filter[] = [
  { name: 'called', label: 'Called' },
  { name: 'caller', label: 'Caller' },
  { name: 'outcome', label: 'Outcome', choices: ['answered', 'busy', 'no_answer', 'cancelled', 'rejected', 'failed'] },
  { name: 'code', label: 'SIP status' },
  { name: 'direction', label: 'Direction', choices: ['outbound', 'inbound'] },
  { name: 'trunk', label: 'Trunk' },
  { name: 'call_id', label: 'SIP Call-ID' },
  { name: 'setup_at[gte]', label: 'From', kind: 'moment' },
  { name: 'setup_at[lt]', label: 'To', kind: 'moment' },
];

export function Calls() {
  return (
    <Page title="Calls">
      <List path="/api/v1/calls" label="Calls" columns={columns} filters={filters} idOf={(c) => c.id} open={(c) => `/calls/${c.id}`} live
        empty={<Text>No call yet. A call stands here a moment after it ended. <Go to="/trunks">Make a trunk</Go> to begin.</Text>} />
    </Page>
  );
}

export function CallPage() {
  const { id } = useParams({ strict: false }) as { id: string };
  const call = useQuery({ queryKey: ['call', id], queryFn: () => api.get('/api/v1/calls/{call_id}', { params: { call_id: id } }) });
  return (
    <Answered query={call}>{({ data }) => {
      const c = data as Of<'CallDetail'>;
      return <CallView call={c} record={c.record as never} actions={<AsCurl path="/api/v1/calls/{call_id}" options={{ params: { call_id: id } }} />}
        ladder={<LadderPart id={id} ask={() => api.get('/api/v1/calls/{call_id}/ladder', { params: { call_id: id } })} />}
        extra={c.trunk_id ? <Text mt="xs"><Go to={`/trunks/${c.trunk_id}`}>The trunk of this call</Go></Text> : null} />;
    }}</Answered>
  );
}

export function Live() {
  return (
    <Page title="Live calls" actions={<AsCurl path="/api/v1/calls/live" />}>
      <LiveCalls look={(digits) => api.get('/api/v1/calls/live', { query: { number: digits } })}
        hangUp={(id, reason) => api.post('/api/v1/calls/{call_id}/hang-up', { reason }, { params: { call_id: id } })} />
    </Page>
  );
}

export function LivePage() {
  const { id } = useParams({ strict: false }) as { id: string };
  const ladder = useQuery({ queryKey: ['ladder', id], queryFn: () => api.get('/api/v1/calls/{call_id}/ladder', { params: { call_id: id } }),
    refetchInterval: (q) => ((q.state.data?.data as unknown as LadderLike | undefined)?.over ? false : 1_000) });
  return (
    <Page title="Messages of a call" actions={<Go to={`/calls/${id}`}>The call, when it is over</Go>}>
      <Answered query={ladder}>{({ data }) => <LadderView of={data as unknown as LadderLike} />}</Answered>
    </Page>
  );
}
