// Partitions, exclusions, and the route tester with vendors and prices.
import { Button, Code, Group, Select, Stack, Text, TextInput } from '@mantine/core';
import { AsCurl, Decision, Failed, FormButton, List, money, Page, Part, State, Sure, useMay, useUrl, When, words, type Column, type FieldSpec } from '@warp/kit';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { api, type Of } from '../api.ts';
import { choices, nameOf, useCustomers, useVendors } from '../names.ts';

type Partition = Of<'Partition'>;
export function Partitions() {
  const may = useMay('routing:write');
  const [vendors, queries] = [useVendors(), useQueryClient()];
  const again = () => queries.invalidateQueries({ queryKey: ['/api/v1/admin/partitions'] });
  const fields: FieldSpec[] = [
    { name: 'name', label: 'Name', required: true }, { name: 'strategy', label: 'Order of vendors', kind: 'choice', choices: ['cost', 'priority_cost', 'weighted_share'], required: true },
    { name: 'max_candidates', label: 'Tries at most', kind: 'number' }, { name: 'margin_bps', label: 'Margin in hundredths of a percent', kind: 'number' }, { name: 'margin_per_min', label: 'Margin a minute', kind: 'money' },
    { name: 'loss_ok', label: 'A call may cost more than it brings', kind: 'switch' }, { name: 'expected_duration_s', label: 'Prices are compared for a call of seconds', kind: 'number' },
  ];
  const columns: Column<Partition>[] = [
    { head: 'Name', cell: (p) => p.name, text: (p) => p.name, narrow: true },
    { head: 'Order', cell: (p) => words(p.strategy), text: (p) => p.strategy },
    { head: 'Vendors', cell: (p) => p.vendors.map((v) => nameOf(vendors, v.vendor_id)).join(', '), text: (p) => p.vendors.map((v) => v.vendor_id).join(' '), width: 'minmax(200px, 3fr)', narrow: true },
    { head: 'Tries', cell: (p) => p.max_candidates, text: (p) => String(p.max_candidates), right: true },
    { head: 'Margin', cell: (p) => `${(p.margin_bps / 100).toFixed(2)} % + ${money(p.margin_per_min)}`, text: (p) => String(p.margin_bps), width: 'minmax(150px, 1fr)' },
    ...(may ? [{ head: 'Do', text: () => '', width: '200px', cell: (p: Partition) => (
      <Group gap={4} wrap="nowrap">
        <FormButton label="Change" title={`Change ${p.name}`} fields={[...fields, { name: 'ids', label: 'Vendors (ids), in order', kind: 'many', choices: vendors.map((v) => v.id) }]} initial={{ ...p, ids: p.vendors.map((v) => v.vendor_id) } as never}
          submit={({ ids, ...v }) => {
            const known = new Map(p.vendors.map((x) => [x.vendor_id, x]));
            const list = (ids as string[]).map((vendor_id) => known.get(vendor_id) ?? { vendor_id });
            const sent = list.map((x) => Object.fromEntries(Object.entries(x).filter(([, y]) => y !== null)));
            return api.patch('/api/v1/admin/partitions/{partition_id}', { ...v, vendors: sent } as never, { params: { partition_id: p.id }, version: p.version }).then(again);
          }} />
        <Sure what="the partition" name={p.name} act={() => api.delete('/api/v1/admin/partitions/{partition_id}', { params: { partition_id: p.id } }).then(again)} />
      </Group>
    ) }] : []),
  ];
  return (
    <Page title="Partitions" actions={may && <FormButton primary label="New partition" title="New partition" fields={[...fields, { name: 'ids', label: 'Vendors (ids), in order', kind: 'many', choices: vendors.map((v) => v.id) }]}
      submit={({ ids, ...v }) => api.post('/api/v1/admin/partitions', { ...Object.fromEntries(Object.entries(v).filter(([, x]) => x !== null)), vendors: (ids as string[]).map((vendor_id) => ({ vendor_id })) } as never).then(again)} />}>
      <List path="/api/v1/admin/partitions" label="Partitions" columns={columns} filters={[{ name: 'name', label: 'Name' }]} idOf={(p) => p.id} empty={<Text>A partition says which vendors may carry a customer’s calls, and in which order.</Text>} />
    </Page>
  );
}

type Exclusion = Of<'Exclusion'>;
const KINDS = ['quality', 'dispute', 'temporary', 'permanent'];
export function Exclusions() {
  const may = useMay('routing:write');
  const [vendors, queries] = [useVendors(), useQueryClient()];
  const again = () => queries.invalidateQueries({ queryKey: ['/api/v1/admin/exclusions'] });
  const columns: Column<Exclusion>[] = [
    { head: 'Vendor', cell: (e) => nameOf(vendors, e.vendor_id), text: (e) => e.vendor_id, narrow: true, width: 'minmax(140px, 1fr)' },
    { head: 'Code', cell: (e) => <Code>{e.code ?? 'all'}</Code>, text: (e) => e.code ?? '', narrow: true },
    { head: 'Kind', cell: (e) => words(e.kind), text: (e) => e.kind },
    { head: 'Why', cell: (e) => e.reason, text: (e) => e.reason, width: 'minmax(160px, 2fr)' },
    { head: 'Ends', cell: (e) => (e.ends_at ? <When at={e.ends_at} /> : <State kind="warn">never</State>), text: (e) => e.ends_at ?? '', width: 'minmax(175px, 1fr)' },
    ...(may ? [{ head: 'Do', text: () => '', width: '110px', cell: (e: Exclusion) => <Sure what="the exclusion" name={e.code ?? 'all'} verb="Lift" act={() => api.delete('/api/v1/admin/exclusions/{exclusion_id}', { params: { exclusion_id: e.id } }).then(again)} /> }] : []),
  ];
  return (
    <Page title="Exclusions" actions={may && <FormButton primary label="Exclude a vendor" title="Exclude a vendor" save="Exclude" fields={[
      { name: 'vendor_id', label: 'Vendor', kind: 'choice', choices: choices(vendors), required: true }, { name: 'code', label: 'For numbers that begin with', hint: '44; empty: for all' },
      { name: 'kind', label: 'Kind', kind: 'choice', choices: KINDS, required: true }, { name: 'reason', label: 'Why', required: true }, { name: 'ends_at', label: 'Ends', kind: 'moment' }]}
      submit={(v) => api.post('/api/v1/admin/exclusions', v as never).then(again)} />}>
      <List path="/api/v1/admin/exclusions" label="Exclusions" columns={columns} filters={[{ name: 'vendor', label: 'Vendor' }, { name: 'kind', label: 'Kind', choices: KINDS }, { name: 'code', label: 'Code' }]} idOf={(e) => e.id} empty={<Text>No vendor is excluded.</Text>} />
    </Page>
  );
}

export function RouteTester() {
  const [url, setUrl] = useUrl();
  const [form, setForm] = useState({ to: url.to ?? '', from: url.from ?? '', trunk_id: url.trunk ?? '', at: url.at ?? '' });
  const customers = useCustomers();
  const trunks = useQuery({ queryKey: ['trunks', 'all'], queryFn: () => api.get('/api/v1/admin/trunks', { query: { limit: 200 } }) });
  const list = (trunks.data?.data ?? []) as Of<'Trunk'>[];
  const trunk = form.trunk_id || list[0]?.id || '';
  const body = { to: form.to, trunk_id: trunk, ...(form.from ? { from: form.from } : {}), ...(form.at ? { at: new Date(form.at).toISOString() } : {}) };
  const ask = useMutation({ mutationFn: () => api.post('/api/v1/admin/route', body as never) });
  const set = (name: string) => (value: string | null) => setForm((f) => ({ ...f, [name]: value ?? '' }));
  return (
    <Page title="Route tester" actions={<AsCurl path="/api/v1/admin/route" method="POST" body={body} />}>
      <Part title="A call to think through">
        <form onSubmit={(e) => { e.preventDefault(); setUrl({ to: form.to, from: form.from, trunk, at: form.at }); ask.mutate(); }}>
          <Group align="flex-end">
            <TextInput label="To" required value={form.to} onChange={(e) => set('to')(e.currentTarget.value)} placeholder="+442071234567" />
            <TextInput label="From" value={form.from} onChange={(e) => set('from')(e.currentTarget.value)} placeholder="+12025550100" />
            <Select label="Trunk" required searchable value={trunk || null} onChange={set('trunk_id')} data={list.map((t) => ({ value: t.id, label: `${t.name} · ${nameOf(customers, t.customer_id)}` }))} w={260} />
            <TextInput label="What if at" type="datetime-local" value={form.at} onChange={(e) => set('at')(e.currentTarget.value)} />
            <Button type="submit" loading={ask.isPending}>Where would it go?</Button>
          </Group>
        </form>
      </Part>
      <Stack aria-live="polite">
        {ask.isError && <Failed why={ask.error} />}
        {ask.data && (
          <Part title="Decision">
            <Decision of={(ask.data.data as Of<'RouteResult'>).decision as never} candidateHead={['Vendor', 'Trunk', 'Cost a minute', 'Code', 'Margin', 'Passed over']}
              candidate={(k: Of<'DecisionCandidate'>) => [k.vendor_name, k.vendor_trunk_name, k.buy ? `${k.buy.rate_per_min} ${k.buy.currency}` : '–', k.buy?.prefix ?? '–', k.expected_margin ?? '–', k.passed_over || '–']}
              excludedHead={['Vendor', 'Rule', 'Cost a minute']} excluded={(e: Of<'DecisionExclusion'>) => [e.vendor_name, e.rule || '–', e.rate_per_min ?? '–']} />
          </Part>
        )}
      </Stack>
    </Page>
  );
}
