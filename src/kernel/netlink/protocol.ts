/** What addresses (IFA_PROTO), routes (rtm_protocol) and neighbours (NDA_PROTOCOL) of ours carry; rt_protos(5) gives 84 to nobody. */
export const ourProtocol = 84;
