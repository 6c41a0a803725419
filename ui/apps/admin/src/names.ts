// Names of customers and vendors for their ids: read once, kept for a minute.
import { useQuery } from '@tanstack/react-query';
import { api, type Of } from './api.ts';

const STALE = 60_000;
export function useVendors(): Of<'Vendor'>[] {
  const all = useQuery({ queryKey: ['names', 'vendors'], staleTime: STALE, queryFn: () => api.get('/api/v1/admin/vendors', { query: { limit: 200 } }) });
  return (all.data?.data ?? []) as Of<'Vendor'>[];
}
export function useCustomers(): Of<'Customer'>[] {
  const all = useQuery({ queryKey: ['names', 'customers'], staleTime: STALE, queryFn: () => api.get('/api/v1/admin/customers', { query: { limit: 200 } }) });
  return (all.data?.data ?? []) as Of<'Customer'>[];
}
export function useDecks(): Of<'Deck'>[] {
  const all = useQuery({ queryKey: ['names', 'decks'], staleTime: STALE, queryFn: () => api.get('/api/v1/admin/rate-decks', { query: { limit: 200 } }) });
  return (all.data?.data ?? []) as Of<'Deck'>[];
}
/** The name of an id; the id itself when it is none of the first two hundred. */
export function nameOf(of: { id: string; name: string }[], id: string | null | undefined): string {
  return of.find((o) => o.id === id)?.name ?? id ?? '–';
}
export function choices(of: { id: string; name: string }[]) {
  return of.map((o) => ({ value: o.id, label: o.name }));
}
