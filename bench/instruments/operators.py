"""Every operator of PyTorch, by what it does: multiply and add, something else, or what its parts do.

`flop_table` has those with a formula. What multiplies and adds and has none makes a count incomplete; so does
an operator that is in no list, as one of a new PyTorch or of another library.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import torch

from bench.instruments.flop_table import has_formula

Kind = Literal["formula", "unknown", "parts", "none"]

_UNKNOWN = """
    _cdist_forward _cdist_backward cholesky cholesky_inverse cholesky_solve _cholesky_solve_helper
    _compute_linear_combination _cslt_sparse_mm _cslt_sparse_mm_search _cudnn_attention_forward
    _cudnn_attention_backward cudnn_affine_grid_generator_backward _fft_c2c _fft_c2r _fft_r2c
    _flash_attention_forward_no_dropout_inplace geqrf linalg_cholesky_ex _linalg_det linalg_eig _linalg_eigh
    linalg_eigvals _linalg_eigvals linalg_householder_product linalg_inv_ex linalg_ldl_factor_ex
    linalg_ldl_solve linalg_lstsq linalg_lu linalg_lu_factor_ex linalg_lu_solve linalg_matrix_exp linalg_pinv
    linalg_qr _linalg_slogdet _linalg_solve_ex linalg_solve_triangular _linalg_svd lstm_mps_backward
    mps_convolution_backward mps_convolution_transpose_backward ormqr _pdist_forward _pdist_backward
    _sparse_mm_reduce_impl_backward _sparse_semi_structured_addmm _sparse_semi_structured_linear
    _sparse_semi_structured_mm _spsolve triangular_solve _trilinear _triton_multi_head_attention
"""
"""Operators of `aten` that multiply and add, in ways that no formula here knows."""

# Elementwise work, reductions and norms count 0 by convention: no product of matrices is in them. Variants
# share the entry: `add_`, `_foreach_add`, `view_copy`, `gelu_backward`.
_NONE = {
    "creation": """
        arange bartlett_window blackman_window complex _efficientzerotensor empty empty_like empty_permuted
        empty_strided eye fft_fftfreq fft_rfftfreq fill from_file full full_like hamming_window hann_window
        kaiser_window lift lift_fresh linspace logspace new_empty new_empty_strided new_full new_ones
        new_zeros _new_zeros_with_same_feature_meta ones ones_like polar range scalar_tensor zero zeros
        zeros_like
    """,
    "views and copies": """
        alias as_strided as_strided_scatter block_diag cat _chunk_cat clone _conj copy _copy_from
        _copy_from_and_resize _cudnn_rnn_flatten_weight detach diag_embed diagonal diagonal_scatter expand
        flip _fw_primal _lazy_clone lu_unpack _make_dual mkldnn_reorder_conv2d_weight
        mkldnn_reorder_conv3d_weight _mkldnn_reshape _mkldnn_transpose narrow _neg_view permute _pin_memory
        repeat _reshape _reshape_alias resize resize_as _resize_output roll rot90 select select_scatter set
        slice slice_inverse slice_scatter split split_with_sizes squeeze _stack stack t _to to_mkldnn
        transpose tril triu unbind unfold unsafe_split unsafe_split_with_sizes _unsafe_view unsqueeze view
        view_as_complex view_as_real
    """,
    "checks and queries": """
        allclose _assert_async _assert_scalar _assert_tensor_metadata equal _foobar _functional_assert_async
        _functional_assert_scalar _functional_sym_constrain_range _functional_sym_constrain_range_for_size
        _fused_sdp_choice _has_same_storage_numel hash_tensor _histogramdd_bin_edges _is_all_true
        _is_any_true is_pinned is_same_size is_set_to _linalg_check_errors _local_scalar_dense
        _make_dep_token _print record_stream sym_constrain_range sym_constrain_range_for_size
        _test_autograd_multiple_dispatch _test_autograd_multiple_dispatch_view _test_functorch_fallback
        _test_optional_filled_intlist _test_optional_floatlist _test_optional_intlist
        _test_parallel_materialize _test_warn_in_autograd
    """,
    "indexing and embedding": """
        embedding embedding_dense embedding_renorm gather index index_add index_fill index_put
        _index_put_impl index_reduce index_select masked_fill masked_scatter masked_select put
        repeat_interleave scatter scatter_add scatter_reduce take _unsafe_index _unsafe_index_put
        _unsafe_masked_index _unsafe_masked_index_put_accumulate where
    """,
    "elementwise arithmetic": """
        abs acos acosh add addcdiv addcmul angle asin asinh atan atan2 atanh bitwise_and bitwise_left_shift
        bitwise_not bitwise_or bitwise_right_shift bitwise_xor ceil clamp clamp_max clamp_min _conj_physical
        conj_physical copysign cos cosh deg2rad digamma div eq erf erfc erfinv exp exp2 expm1 floor
        floor_divide fmax fmin fmod frac frexp gcd ge gt heaviside hypot i0 igamma igammac
        __ilshift__ __irshift__ isinf isnan isneginf isposinf lcm ldexp le lerp lgamma linalg_cross log
        log10 log1p log2 logaddexp logaddexp2 logical_and logical_not logical_or logical_xor __lshift__ lt
        maximum minimum mul mvlgamma nan_to_num ne neg nextafter polygamma pow rad2deg
        reciprocal remainder round __rshift__ rsqrt rsub sgn sign signbit sin sinc sinh special_airy_ai
        special_bessel_j0 special_bessel_j1 special_bessel_y0 special_bessel_y1
        special_chebyshev_polynomial_t special_chebyshev_polynomial_u special_chebyshev_polynomial_v
        special_chebyshev_polynomial_w special_entr special_erfcx special_hermite_polynomial_h
        special_hermite_polynomial_he special_i0e special_i1 special_i1e special_laguerre_polynomial_l
        special_legendre_polynomial_p special_log_ndtr special_modified_bessel_i0 special_modified_bessel_i1
        special_modified_bessel_k0 special_modified_bessel_k1 special_ndtri
        special_scaled_modified_bessel_k0 special_scaled_modified_bessel_k1
        special_shifted_chebyshev_polynomial_t special_shifted_chebyshev_polynomial_u
        special_shifted_chebyshev_polynomial_v special_shifted_chebyshev_polynomial_w
        special_spherical_bessel_j0 special_xlog1py special_zeta sqrt sub tan trunc xlogy
    """,
    "activations": """
        _add_relu celu elu gelu glu glu_backward hardshrink hardsigmoid hardswish hardtanh leaky_relu
        log_sigmoid _log_softmax log_softmax logit _masked_scale _masked_softmax mish _prelu_kernel relu
        rrelu_with_noise _safe_softmax sigmoid silu _softmax softmax softplus softshrink tanh
        _thnn_fused_gru_cell _thnn_fused_lstm_cell _thnn_fused_lstm_cell_backward_impl threshold
        _transform_bias_rescale_qkv
    """,
    "reductions, sorting and searching": """
        all amax amin _aminmax aminmax any argmax argmin bincount bucketize count_nonzero cummax
        _cummax_helper cummin _cummin_helper cumprod cumsum dist histc histogram _histogramdd_from_bin_cts
        _histogramdd_from_bin_tensors isin kthvalue linalg__powsum linalg_vector_norm _logcumsumexp
        logcumsumexp logsumexp max mean median min mode nanmedian nansum nonzero nonzero_static norm powsum
        prod searchsorted _segment_reduce segment_reduce sort std std_mean sum topk trace _unique _unique2
        unique_consecutive unique_dim unique_dim_consecutive var var_mean
    """,
    "normalization and its statistics": """
        batch_norm batch_norm_backward_elemt batch_norm_backward_reduce batch_norm_elemt
        batch_norm_gather_stats batch_norm_gather_stats_with_counts _batch_norm_no_update batch_norm_stats
        batch_norm_update_stats _batch_norm_with_update cudnn_batch_norm _fused_rms_norm miopen_batch_norm
        native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training native_group_norm
        native_layer_norm native_norm quantized_batch_norm renorm _weight_norm_interface
    """,
    "pooling and resampling": """
        adaptive_avg_pool1d _adaptive_avg_pool2d adaptive_avg_pool2d _adaptive_avg_pool3d
        adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d avg_pool1d avg_pool2d avg_pool3d
        channel_shuffle col2im constant_pad_nd cudnn_grid_sampler fractional_max_pool2d
        fractional_max_pool3d grid_sampler_2d _grid_sampler_2d_cpu_fallback grid_sampler_3d im2col
        max_pool2d max_pool2d_with_indices max_pool3d_with_indices max_unpool2d max_unpool3d
        mkldnn_adaptive_avg_pool2d mkldnn_max_pool2d mkldnn_max_pool3d pixel_shuffle pixel_unshuffle
        quantized_max_pool1d quantized_max_pool2d quantized_max_pool3d reflection_pad1d reflection_pad2d
        reflection_pad3d replication_pad1d replication_pad2d replication_pad3d upsample_bicubic2d
        _upsample_bicubic2d_aa upsample_bilinear2d _upsample_bilinear2d_aa _upsample_lanczos2d_aa
        upsample_linear1d upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d
        _upsample_nearest_exact2d _upsample_nearest_exact3d upsample_trilinear3d
    """,
    "losses": """
        binary_cross_entropy binary_cross_entropy_with_logits _ctc_loss _cudnn_ctc_loss huber_loss
        miopen_ctc_loss mse_loss multi_margin_loss multilabel_margin_loss nll_loss nll_loss2d smooth_l1_loss
        soft_margin_loss _use_cudnn_ctc_loss _use_miopen_ctc_loss
    """,
    "random numbers": """
        bernoulli binomial cauchy _cudnn_init_dropout_state _dirichlet_grad exponential
        _fill_mem_eff_dropout_mask _fused_dropout geometric log_normal multinomial native_dropout normal
        _philox_key_fold_in _philox_key_split _philox_normal _philox_uniform poisson rand rand_like randint
        randint_like randn randn_like random randperm _sample_dirichlet _standard_gamma _standard_gamma_grad
        uniform
    """,
    "quantization: conversions and observers": """
        _convert_weight_to_int4pack _convert_weight_to_int4pack_for_cpu dequantize
        _dyn_quant_pack_4bit_weight _empty_affine_quantized _empty_per_channel_affine_quantized
        empty_quantized _fake_quantize_learnable_per_channel_affine
        _fake_quantize_learnable_per_tensor_affine fake_quantize_per_channel_affine_cachemask
        fake_quantize_per_tensor_affine_cachemask _fake_quantize_per_tensor_affine_cachemask_tensor_qparams
        _fused_moving_avg_obs_fq_helper int_repr _make_per_channel_quantized_tensor
        _make_per_tensor_quantized_tensor q_per_channel_axis q_per_channel_scales q_per_channel_zero_points
        q_scale q_zero_point qscheme quantize_per_channel quantize_per_tensor quantize_per_tensor_dynamic
    """,
    "sparse layouts: their structure": """
        ccol_indices _coalesce _coalesced col_indices _convert_indices_from_coo_to_csr
        _convert_indices_from_csr_to_coo copy_sparse_to_sparse crow_indices _cslt_compress dense_dim _dimI
        _dimV _indices indices is_coalesced _nested_get_values _nnz resize_as_sparse row_indices
        _sparse_broadcast_to sparse_compressed_tensor _sparse_compressed_tensor_with_dims sparse_coo_tensor
        _sparse_coo_tensor_with_dims _sparse_coo_tensor_with_dims_and_tensors _sparse_csr_prod
        _sparse_csr_sum sparse_dim _sparse_log_softmax sparse_mask _sparse_mask_projection sparse_resize
        sparse_resize_and_clear _sparse_semi_structured_apply _sparse_semi_structured_apply_dense
        _sparse_semi_structured_tile _sparse_softmax _sparse_sum _spdiags _to_dense _to_sparse
        _to_sparse_bsc _to_sparse_bsr _to_sparse_csc _to_sparse_csr _to_sparse_semi_structured tril_indices
        triu_indices _validate_compressed_sparse_indices _values values
    """,
    "nested and packed layouts": """
        _jagged_to_padded_dense _nested_compute_contiguous_strides_offsets _nested_from_padded
        _nested_from_padded_and_nested_example _nested_from_padded_tensor _nested_get_jagged_dummy
        _nested_get_lengths _nested_get_max_seqlen _nested_get_min_seqlen _nested_get_offsets
        _nested_get_ragged_idx _nested_select _nested_sum _nested_tensor_from_mask
        _nested_tensor_from_mask_left_aligned _nested_tensor_from_tensor_list _nested_tensor_size
        _nested_tensor_softmax_with_shape _nested_tensor_storage_offsets _nested_tensor_strides
        _nested_view_from_buffer _nested_view_from_jagged _pack_padded_sequence _padded_dense_to_jagged
        to_padded_tensor
    """,
    "fused optimizers and gradient scaling": """
        _amp_foreach_non_finite_check_and_unscale _amp_update_scale _fused_adagrad _fused_adam _fused_adamw
        _fused_sgd
    """,
}

_NONE_ELSEWHERE = {
    "_quantized": """
        add _wrapped_linear_prepack wrapped_fbgemm_pack_gemm_matrix_fp16 conv2d_prepack conv3d_prepack
        conv_transpose1d_prepack conv_transpose2d_prepack conv_transpose3d_prepack linear_prepack
        linear_prepack_fp16 linear_prepack_fp16_legacy linear_prepack_legacy
    """,
    "inductor": "_alloc_from_pool _reinterpret_tensor accumulate_grad resize_storage_bytes",
    "mkl": "_mkl_reorder_linear_weight",
    "mkldnn": """
        data_ptr _get_mkldnn_serialized_md _is_mkldnn_acl_supported _is_mkldnn_bf16_supported
        _is_mkldnn_fp16_supported _nbytes _reorder_convolution_transpose_weight _reorder_convolution_weight
        _reorder_linear_weight _reorder_mkldnn_rnn_layer_weight
    """,
    "mkldnn_prepacked": "conv2d_prepack",
    "onednn": "linear_prepack_fp16 qadd qadd_relu qbatch_norm2d qconv_prepack qlinear_prepack qmul",
    "quantized": """
        add add_out add_relu add_relu_out add_scalar add_scalar_out add_scalar_relu add_scalar_relu_out
        batch_norm batch_norm1d batch_norm1d_relu batch_norm2d batch_norm2d_relu batch_norm3d
        batch_norm3d_relu batch_norm_relu cat cat_out cat_relu cat_relu_out celu clamp conv1d_prepack
        conv1d_unpack conv2d_dilation conv2d_groups conv2d_output_padding conv2d_padding conv2d_prepack
        conv2d_stride conv2d_transpose conv2d_unpack conv2d_unpack_sizes conv3d_dilation conv3d_groups
        conv3d_output_padding conv3d_padding conv3d_prepack conv3d_stride conv3d_transpose conv3d_unpack
        conv_prepack conv_transpose1d_prepack conv_transpose1d_unpack conv_transpose2d_dilation
        conv_transpose2d_groups conv_transpose2d_output_padding conv_transpose2d_padding
        conv_transpose2d_prepack conv_transpose2d_stride conv_transpose2d_transpose conv_transpose2d_unpack
        conv_transpose3d_dilation conv_transpose3d_groups conv_transpose3d_output_padding
        conv_transpose3d_padding conv_transpose3d_prepack conv_transpose3d_stride conv_transpose3d_transpose
        conv_transpose3d_unpack conv_unpack dropout elu embedding_4bit embedding_bag_2bit_prepack
        embedding_bag_2bit_prepack_with_rowwise_min_max embedding_bag_2bit_unpack embedding_bag_4bit_prepack
        embedding_bag_4bit_prepack_with_rowwise_min_max embedding_bag_4bit_unpack embedding_bag_byte_prepack
        embedding_bag_byte_prepack_with_rowwise_min_max embedding_bag_byte_unpack embedding_bag_prepack
        embedding_bag_unpack embedding_byte group_norm hardswish instance_norm layer_norm leaky_relu
        linear_prepack linear_prepack_fp16 linear_prepack_fp16_legacy linear_prepack_legacy linear_unpack
        linear_unpack_fp16 make_quantized_cell_params make_quantized_cell_params_dynamic
        make_quantized_cell_params_fp16 max_pool1d max_pool2d mul mul_out mul_relu mul_relu_out mul_scalar
        mul_scalar_out mul_scalar_relu mul_scalar_relu_out prelu relu6 sigmoid softmax threshold
    """,
    "sparse": "qlinear_prepack qlinear_unpack",
    "torchvision": """
        nms roi_align _roi_align roi_pool _roi_pool ps_roi_align _ps_roi_align ps_roi_pool _ps_roi_pool
    """,
}

_SILENT = """
    c10d _c10d_functional _c10d_functional_autograd debug_mode_ops debugprims _dtensor export inductor_prims
    prim prims profiler quantization quantized_decomposed rngprims static_runtime symm_mem _test
"""
"""Libraries that move, convert or communicate; what computes in them is in `_LOUD`."""

_LOUD = {"prims": "svd fft_c2c fft_c2r fft_r2c", "symm_mem": "_async_input_mm"}

_OF_PARTS = """
    _convolution_mode _convolution_double_backward _scaled_dot_product_attention_math bilinear cdist
    chain_matmul conv1d conv2d conv3d conv_tbc_backward conv_transpose1d conv_transpose2d conv_transpose3d
    corrcoef cov det einsum gru gru_cell inner inverse istft linalg_multi_dot linalg_matmul
    linalg_matrix_power lstm lstm_cell lu_solve matmul matrix_exp matrix_power orgqr pdist
    pinverse qr rnn_relu rnn_relu_cell rnn_tanh rnn_tanh_cell scaled_dot_product_attention slogdet
    slow_conv3d smm stft svd tensordot thnn_conv2d
"""
"""Operators of several others, products among them."""


def kind_of(namespace: str, name: str) -> Kind:
    """Classify an operator by its library and its name without an overload, as `aten` and `addmm`.

    formula: `flop_table` counts it. unknown: it may multiply and add, and nothing counts it. none: it does
    not. parts: it runs as other operators (CompositeImplicitAutograd), which are classified in its stead.
    """
    if has_formula(namespace, name):
        return "formula"
    if namespace in _names(_SILENT):
        return "unknown" if name in _names(_LOUD.get(namespace, "")) else "none"
    if namespace == "aten" and name in _names(_UNKNOWN):
        return "unknown"
    if _stem(name) in _nothing(namespace):
        return "none"
    return "parts" if _is_composite(f"{namespace}::{name}") else "unknown"


def may_compute(namespace: str, name: str) -> bool:
    """Say whether an operator multiplies and adds, itself or in its parts, or may do so."""
    kind = kind_of(namespace, name)
    return kind in ("formula", "unknown") or (kind == "parts" and name in _names(_OF_PARTS))


def _stem(name: str) -> str:
    """Return the entry that a variant shares: in place, for lists of tensors, as a copy, its backward."""
    stem = name.removeprefix("_foreach_")
    stem = stem if stem.startswith("__") else stem.removesuffix("_")
    for variant in ("_copy", "_backward_data", "_backward", "_jvp", "_functional", "_forward"):
        stem = stem.removesuffix(variant) or stem
    return stem


@cache
def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


@cache
def _nothing(namespace: str) -> frozenset[str]:
    if namespace == "aten":
        return frozenset(name for names in _NONE.values() for name in names.split())
    return _names(_NONE_ELSEWHERE.get(namespace, ""))


@cache
def _is_composite(name: str) -> bool:
    overloads = [full for full in torch._C._dispatch_get_all_op_names() if _is_overload(full, name)]
    return bool(overloads) and all(
        torch._C._dispatch_has_kernel_for_dispatch_key(overload, "CompositeImplicitAutograd")
        for overload in overloads
    )


def _is_overload(full: str, name: str) -> bool:
    return full.startswith(name) and full[len(name) : len(name) + 1] in ("", ".")
