// Calls of all customers, with vendor, cost and margin.
import { Button, Code, Text } from '@mantine/core';
import { AsCurl, Answered, CallView, Decision, duration, Failed, Fields, Go, LadderPart, LadderView, List, LiveCalls, money, number, Outcome, Page, Plain, State, When, words, type Column, type Filter, type LadderLike } from '@warp/kit';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useParams } from '@tanstack/react-router';
import { api, type Of } from '../api.ts';
import { nameOf, useCustomers, useVendors } from '../names.ts';

type Call = Of<'ListedCall'>;
const filters: Filter[] = [
  { name: 'called', label: 'Called' }, { name: 'caller', label: 'Caller' },
  { name: 'outcome', label: 'Outcome', choices: ['answered', 'busy', 'no_answer', 'cancelled', 'rejected', 'failed'] },
  { name: 'code', label: 'SIP status' }, { name: 'direction', label: 'Direction', choices: ['outbound', 'inbound'] },
  { name: 'customer', label: 'Customer' }, { name: 'vendor', label: 'Vendor' }, { name: 'trunk', label: 'Trunk' }, { name: 'call_id', label: 'SIP Call-ID' },
  { name: 'setup_at[gte]', label: 'From', kind: 'moment' }, { name: 'setup_at[lt]', label: 'To', kind: 'moment' },
];

export function Calls() {
  const [vendors, customers] = [useVendors(), useCustomers()];
  const columns: Column<Call>[] = [
    { head: 'Set up', cell: (c) => <When at={c.setup_at} />, text: (c) => c.setup_at, width: 'minmax(175px, 1fr)', narrow: true },
    { head: 'Customer', cell: (c) => nameOf(customers, c.customer_id), text: (c) => c.customer_id ?? '', width: 'minmax(120px, 1fr)' },
    { head: 'Caller', cell: (c) => number(c.caller_e164 ?? c.caller), text: (c) => c.caller_e164 ?? c.caller, width: 'minmax(150px, 1fr)' },
    { head: 'Called', cell: (c) => number(c.called_e164 ?? c.called), text: (c) => c.called_e164 ?? c.called, width: 'minmax(150px, 1fr)', narrow: true },
    { head: 'Outcome', cell: (c) => <Outcome call={c} />, text: (c) => `${c.outcome} ${c.sip_code}`, width: 'minmax(165px, 1fr)' },
    { head: 'Duration', cell: (c) => duration(c.duration_ms), text: (c) => String(c.duration_ms), right: true },
    { head: 'Vendor', cell: (c) => nameOf(vendors, c.vendor_id), text: (c) => c.vendor_id ?? '', width: 'minmax(110px, 1fr)' },
    { head: 'Price', cell: (c) => money(c.price), text: (c) => c.price?.amount ?? '', right: true, width: 'minmax(110px, 1fr)' },
    { head: 'Cost', cell: (c) => money(c.cost), text: (c) => c.cost?.amount ?? '', right: true, width: 'minmax(110px, 1fr)' },
  ];
  return (
    <Page title="Calls">
      <List path="/api/v1/admin/calls" label="Calls" columns={columns} filters={filters} idOf={(c) => c.id} open={(c) => `/calls/${c.id}`} live empty={<Text>No call yet.</Text>} />
    </Page>
  );
}

export function CallPage() {
  const { id } = useParams({ strict: false }) as { id: string };
  const [vendors, customers] = [useVendors(), useCustomers()];
  const at = { params: { call_id: id } };
  const call = useQuery({ queryKey: ['call', id], queryFn: () => api.get('/api/v1/admin/calls/{call_id}', at) });
  const replay = useMutation({ mutationFn: () => api.post('/api/v1/admin/calls/{call_id}/replay', undefined as never, at) });
  const again = replay.data?.data as Of<'Replay'> | undefined;
  return (
    <Answered query={call}>{({ data }) => {
      const c = data as Of<'CallDetail'>;
      const buy = c.record?.rating?.buy;
      return (
        <CallView call={c} record={c.record as never}
          actions={<>
            <Button variant="default" loading={replay.isPending} onClick={() => replay.mutate()}>Decide again</Button>
            <AsCurl path="/api/v1/admin/calls/{call_id}" options={at} />
          </>}
          ladder={<LadderPart id={id} ask={() => api.get('/api/v1/admin/calls/{call_id}/ladder', at)} />}
          legHead={['Vendor', 'Sent to']} leg={(l: Of<'CallLeg'>) => [nameOf(vendors, l.vendor_id), l.egress_ip]}
          decision={c.record?.decision && (
            <Decision of={c.record.decision as never} candidateHead={['Vendor', 'Trunk', 'Cost a minute', 'Code', 'Margin', 'Passed over']}
              candidate={(k: Of<'DecisionCandidate'>) => [k.vendor_name, k.vendor_trunk_name, k.buy ? `${k.buy.rate_per_min} ${k.buy.currency}` : '–', k.buy?.prefix ?? '–', k.expected_margin ?? '–', k.passed_over || '–']}
              excludedHead={['Vendor', 'Rule', 'Cost a minute']} excluded={(e: Of<'DecisionExclusion'>) => [e.vendor_name, e.rule || '–', e.rate_per_min ?? '–']} />
          )}
          extra={<>
            <Fields of={[
              ['Cost', money(c.cost)], ['Cost, the sum', buy ? buy.sum : 'none'], ['Cost deck', buy ? <><Code>{buy.deck_version}</Code> code <Code>{buy.prefix}</Code></> : undefined],
              ['Margin', money(c.margin)], ['Customer', c.customer_id ? <Go key="c" to={`/customers/${c.customer_id}`}>{nameOf(customers, c.customer_id)}</Go> : '–'],
              ['Vendor', c.vendor_id ? <Go key="v" to={`/vendors/${c.vendor_id}`}>{nameOf(vendors, c.vendor_id)}</Go> : '–'],
            ]} />
            {replay.isError && <Failed why={replay.error} />}
            {again && <Text mt="xs"><State kind={again.same_decision ? 'good' : 'bad'}>Decided again from snapshot {again.snapshot_id}: {again.same_decision ? 'the same' : 'another'} decision, price {words(again.rating)}.</State></Text>}
          </>} />
      );
    }}</Answered>
  );
}

type LiveCall = Of<'LiveCall'>;
export function Live() {
  const [vendors, customers] = [useVendors(), useCustomers()];
  return (
    <Page title="Live calls" actions={<AsCurl path="/api/v1/admin/calls/live" />}>
      <LiveCalls<LiveCall> look={(digits) => api.get('/api/v1/admin/calls/live', { query: { number: digits } })}
        hangUp={(id, reason) => api.post('/api/v1/admin/calls/{call_id}/hang-up', { reason }, { params: { call_id: id } })}
        head={['Cost so far', 'Customer', 'Vendor', 'Node']} more={(c) => [money(c.cost), nameOf(customers, c.customer_id), nameOf(vendors, c.vendor_id), c.node ?? '–']} />
    </Page>
  );
}

export function LivePage() {
  const { id } = useParams({ strict: false }) as { id: string };
  const ladder = useQuery({ queryKey: ['ladder', id], queryFn: () => api.get('/api/v1/admin/calls/{call_id}/ladder', { params: { call_id: id } }),
    refetchInterval: (q) => ((q.state.data?.data as unknown as LadderLike | undefined)?.over ? false : 1_000) });
  return (
    <Page title="Messages of a call" actions={<Go to={`/calls/${id}`}>The call, when it is over</Go>}>
      <Answered query={ladder}>{({ data }) => <LadderView of={data as unknown as LadderLike} />}</Answered>
    </Page>
  );
}

export function Refused() {
  const seen = useQuery({ queryKey: ['refused'], queryFn: () => api.get('/api/v1/admin/refused-sources'), refetchInterval: 5_000 });
  return (
    <Page title="Refused sources" actions={<AsCurl path="/api/v1/admin/refused-sources" />}>
      <Answered query={seen}>{({ data }) => {
        const { sources, silent } = data as Of<'RefusedSources'>;
        return (
          <>
            {silent.length > 0 && <State kind="bad">{silent.join(', ')} did not answer.</State>}
            {sources.length === 0 ? <Text>No address without an account wanted anything lately.</Text> : (
              <Plain label="Refused sources" head={['Last seen', 'Address', 'Wanted', 'As', 'Program', 'Requests', 'Answered', 'Node']}
                rows={sources.map((s) => [<When key="w" at={s.at} />, `${s.address} ${s.transport}`, `${s.method} ${s.uri}`, s.from, s.agent || '–', s.requests, s.status ?? 'nothing', s.node])} />
            )}
          </>
        );
      }}</Answered>
    </Page>
  );
}
