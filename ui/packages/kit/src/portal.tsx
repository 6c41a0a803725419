// What a portal is: its place, its API, who is signed in.
import { Alert, Button, Center, Loader, Stack, Text, Title } from '@mantine/core';
import { QueryClient, useQuery } from '@tanstack/react-query';
import { createContext, useContext, type ReactNode } from 'react';
import { ApiError, request } from '@warp/api-client';

/** A portal. */
export interface Portal {
  /** `Console` or `Admin`. */
  name: string;
  /** Where it is served: `/console` or `/admin`. */
  place: string;
  /** The API's paths begin so: `/api/v1` or `/api/v1/admin`. */
  api: string;
  nav: NavGroup[];
}

/** A group of the menu. */
export interface NavGroup {
  label: string;
  items: NavItem[];
}

/** A page of the menu. */
export interface NavItem {
  label: string;
  to: string;
  /** Who has not this permission does not see it. */
  needs?: string;
  /** Pressed after `g`. */
  key?: string;
}

/** Who is signed in. */
export interface Session {
  name: string;
  role: string | null;
  kind: string;
  permissions: string[];
  customer_id?: string | null;
  second_factor_until?: string | null;
  expires_at?: string | null;
}

const PortalContext = createContext<Portal | null>(null);
const SessionContext = createContext<Session | null>(null);

export function usePortal(): Portal {
  const portal = useContext(PortalContext);
  if (!portal) throw new Error('no portal');
  return portal;
}
export function useSession(): Session {
  const session = useContext(SessionContext);
  if (!session) throw new Error('nobody is signed in');
  return session;
}
export function useMay(permission?: string): boolean {
  const session = useContext(SessionContext);
  return !permission || Boolean(session?.permissions.some((p) => p === permission || p === '*'));
}

/** Asks again after what may pass, never after a refusal; 401 ends the session on the screen. */
export function makeQueries(): QueryClient {
  const queries: QueryClient = new QueryClient({
    defaultOptions: {
      queries: {
        staleTime: 10_000,
        retry: (count, why) => count < 2 && why instanceof ApiError && (why.status === 0 || why.status >= 500),
        refetchOnWindowFocus: true,
      },
    },
  });
  queries.getQueryCache().subscribe((event) => {
    const why = event.type === 'updated' && event.action.type === 'error' ? event.action.error : null;
    if (why instanceof ApiError && why.status === 401 && why.code !== 'step_up_required' && event.query.queryKey[0] !== 'session') {
      void queries.invalidateQueries({ queryKey: ['session'] });
    }
  });
  return queries;
}

/** Leads to the issuer and back to this page. */
export function signIn(portal: Portal, stepUp = false) {
  const back = encodeURIComponent(location.pathname + location.search);
  location.assign(`${portal.api}/session/login?return_to=${back}${stepUp ? '&step_up=true' : ''}`);
}

/** The page itself for who is signed in, the door for others. */
export function Gate({ portal, children }: { portal: Portal; children: ReactNode }) {
  const session = useQuery({
    queryKey: ['session'],
    queryFn: async () => {
      try {
        return (await request<Session>('get', `${portal.api}/session`)).data;
      } catch (why) {
        if (why instanceof ApiError && why.status === 401) return null;
        throw why;
      }
    },
    staleTime: 60_000,
  });
  if (session.isPending) return <Center h="100dvh" component="main"><Loader aria-label="Loading" /></Center>;
  if (session.isError || !session.data) {
    return (
      <Center h="100dvh" component="main">
        <Stack maw={420} p="md">
          <Title order={1}>WARP {portal.name}</Title>
          {session.isError ? (
            <Alert color="red" variant="outline" title={session.error.message}>
              {(session.error as ApiError).hint} {(session.error as ApiError).requestId}
              <Button mt="sm" onClick={() => session.refetch()}>Try again</Button>
            </Alert>
          ) : (
            <>
              <Text>Sign in with your organisation’s account. No password is typed here, and no token reaches this page.</Text>
              <Button onClick={() => signIn(portal)}>Sign in</Button>
            </>
          )}
        </Stack>
      </Center>
    );
  }
  return (
    <PortalContext.Provider value={portal}>
      <SessionContext.Provider value={session.data}>{children}</SessionContext.Provider>
    </PortalContext.Provider>
  );
}
