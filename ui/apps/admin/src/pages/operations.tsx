// What is going on: the last calls by vendor, the newest problems, what changed.
import { SimpleGrid, Stack, Text } from '@mantine/core';
import { Answered, duration, Go, money, number, Outcome, Page, Part, Plain, State, useMay, When, why } from '@warp/kit';
import { useQuery } from '@tanstack/react-query';
import { api, type Of } from '../api.ts';
import { nameOf, useCustomers, useVendors } from '../names.ts';

const OUTCOMES = ['answered', 'busy', 'no_answer', 'cancelled', 'rejected', 'failed'] as const;

export function Operations() {
  const [mayCalls, mayAudit, mayTrunks] = [useMay('calls:read'), useMay('audit:read'), useMay('vendors:read')];
  const [vendors, customers] = [useVendors(), useCustomers()];
  const calls = useQuery({ queryKey: ['calls', 'last'], enabled: mayCalls, refetchInterval: 3_000, queryFn: () => api.get('/api/v1/admin/calls', { query: { limit: 200, expand: 'legs' } }) });
  const audit = useQuery({ queryKey: ['audit', 'last'], enabled: mayAudit, refetchInterval: 10_000, queryFn: () => api.get('/api/v1/admin/audit', { query: { limit: 8 } }) });
  return (
    <Page title="Operations">
      {mayCalls && (
        <Answered query={calls}>{({ data }) => {
          const all = data as Of<'ListedCall'>[];
          if (all.length === 0) return <Part title="No call yet"><Text>Calls stand here a moment after they ended.</Text></Part>;
          const ids = [...new Set(all.map((c) => c.vendor_id ?? ''))];
          const broken = all.filter((c) => c.outcome === 'failed' || c.outcome === 'rejected').slice(0, 8);
          return (
            <Stack>
              <Text c="dimmed" size="sm">Of the last {all.length} calls, since <When at={all.at(-1)!.setup_at} />.</Text>
              <Part title="By vendor">
                <Plain label="By vendor" head={['Vendor', 'Calls', 'ASR', 'ACD', ...OUTCOMES.map((o) => o.replace('_', ' '))]} rows={ids.map((id) => {
                  const of = all.filter((c) => (c.vendor_id ?? '') === id);
                  const answered = of.filter((c) => c.outcome === 'answered');
                  const acd = answered.length ? duration(Math.round(answered.reduce((s, c) => s + c.duration_ms, 0) / answered.length)) : '–';
                  return [id ? <Go key="v" to="/calls" search={{ vendor: id }}>{nameOf(vendors, id)}</Go> : 'no vendor', of.length, `${((100 * answered.length) / of.length).toFixed(1)} %`, acd,
                    ...OUTCOMES.map((o) => of.filter((c) => c.outcome === o).length)];
                })} />
              </Part>
              <Part title="Newest problems">
                {broken.length === 0 ? <Text>None.</Text> : (
                  <Plain label="Newest problems" head={['When', 'Customer', 'Called', 'What happened']} rows={broken.map((c) => [
                    <When key="w" at={c.setup_at} />, nameOf(customers, c.customer_id), <Go key="c" to={`/calls/${c.id}`}>{number(c.called_e164 ?? c.called)}</Go>,
                    why(c as never, (c as { legs?: never[] }).legs ?? []),
                  ])} />
                )}
              </Part>
              <Part title="Newest calls">
                <Plain label="Newest calls" head={['When', 'Customer', 'Called', 'Outcome', 'Vendor', 'Price', 'Cost']} rows={all.slice(0, 8).map((c) => [
                  <When key="w" at={c.setup_at} />, nameOf(customers, c.customer_id), <Go key="c" to={`/calls/${c.id}`}>{number(c.called_e164 ?? c.called)}</Go>,
                  <Outcome key="o" call={c} />, nameOf(vendors, c.vendor_id), money(c.price), money(c.cost),
                ])} />
              </Part>
            </Stack>
          );
        }}</Answered>
      )}
      <SimpleGrid cols={{ base: 1, md: 2 }}>
        {mayTrunks && <VendorTrunks vendors={vendors} />}
        {mayAudit && (
          <Part title="What changed">
            <Answered query={audit}>{({ data }) => (
              <Plain label="What changed" head={['When', 'What', 'On', 'Who']} rows={(data as Of<'AuditEntry'>[]).map((a) => [<When key="w" at={a.at} />, a.action, <Go key="o" to="/audit" search={{ object: a.object }}>{a.object}</Go>, a.actor])} />
            )}</Answered>
          </Part>
        )}
      </SimpleGrid>
    </Page>
  );
}

function VendorTrunks({ vendors }: { vendors: Of<'Vendor'>[] }) {
  const trunks = useQuery({ queryKey: ['vendor-trunks', 'first'], queryFn: () => api.get('/api/v1/admin/vendor-trunks', { query: { limit: 20 } }) });
  return (
    <Part title="Vendor trunks">
      <Answered query={trunks}>{({ data }) => (
        <Plain label="Vendor trunks" head={['Vendor', 'Trunk', 'Health']} rows={(data as Of<'VendorTrunk'>[]).map((t) => [<Go key="v" to={`/vendors/${t.vendor_id}`}>{nameOf(vendors, t.vendor_id)}</Go>, t.name, <Health key="h" id={t.id} />])} />
      )}</Answered>
    </Part>
  );
}

export function Health({ id }: { id: string }) {
  const health = useQuery({ queryKey: ['health', id], refetchInterval: 3_000, queryFn: () => api.get('/api/v1/admin/vendor-trunks/{vendor_trunk_id}/health', { params: { vendor_trunk_id: id } }) });
  const h = health.data?.data as Of<'VendorTrunkHealth'> | undefined;
  if (!h) return <State kind="off">{health.isError ? 'not known' : '…'}</State>;
  return <State kind={h.state === 'up' ? 'good' : h.share_percent > 0 ? 'warn' : 'bad'}>{h.state}{h.share_percent < 100 ? `, ${h.share_percent} % of its calls` : ''}{h.reason ? `: ${h.reason}` : ''}</State>;
}
